import { rmSync } from 'node:fs';
import { diffLines, historyLines, tableLines, type MomentParts } from '../../api/moments/lines.ts';
import { ScratchFolders } from '../../moments/scratch.ts';
import { positionPrinter } from '../../print-position.ts';
import { createRuntime } from '../../runtime/runtime.ts';
import type { CliContext } from '../context.ts';
import { openStopped, stoppedLog } from '../stopped/stopped-hub.ts';
import type { MomentRequest } from './moment-source.ts';

/** The lines that the hub of this folder would give, made here. Changes nothing in the folder but what it sorts in, which it removes. */
export async function* stoppedLines(data: string, request: MomentRequest, context: CliContext): AsyncGenerator<string, void, void> {
  const { clock, files } = createRuntime({ logLevel: 'error' });
  const { connectors } = await context.registry();
  using leftovers = new Leftovers();
  await using engine = await openStopped(data);
  const parts: MomentParts = {
    log: await stoppedLog(engine, data, request.source),
    files,
    scratch: new ScratchFolders(files, data, `reader-${process.pid}`, leftovers.note),
    clock: { ...clock, now: () => context.now() },
    codecs: connectors.map(({ positions }) => positions),
    printPosition: positionPrinter(connectors),
    signal: context.signal,
  };
  switch (request.what) {
    case 'table':
      return yield* tableLines(parts, request.query);
    case 'history':
      return yield* historyLines(parts, request.query);
    case 'diff':
      return yield* diffLines(parts, request.query);
  }
}

/** Removes folders at the end of the process, where that ends before they were: whoever reads its output has gone, for instance. */
class Leftovers implements Disposable {
  readonly #paths: string[] = [];

  constructor() {
    process.on('exit', this.#remove);
  }

  readonly note = (path: string): void => void this.#paths.push(path);

  [Symbol.dispose](): void {
    process.off('exit', this.#remove);
  }

  readonly #remove = (): void => {
    for (const path of this.#paths) rmSync(path, { recursive: true, force: true });
  };
}
