import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { FileSystem, LogFile } from '../../../../contracts/runtime.ts';
import { EntryKind, ValueView } from '../base/base-entry.ts';
import { readU64 } from '../bytes.ts';
import { EntryWalker, readBlock, readRunFooter } from '../runs/run-format.ts';
import type { Inspected } from './inspect.ts';
import { cellsOf, keyText } from './values.ts';

const KINDS = new Map<number, string>(Object.entries(EntryKind).map(([name, kind]) => [kind, name]));

/** The tree of a run from its root down: blocks, and the entries of those that hold data. */
export async function* inspectRun(files: FileSystem, path: string, signal: AbortSignal): AsyncGenerator<Inspected> {
  const file = await files.open(path, 'read');
  try {
    const footer = await readRunFooter(file, path);
    yield { kind: 'run', depth: 0, fields: { ...footer } };
    if (footer.root !== 0) yield* blockThings({ file, path, signal }, footer.root, footer.height);
  } finally {
    await file.close();
  }
}

interface Reading {
  readonly file: LogFile;
  readonly path: string;
  readonly signal: AbortSignal;
}

async function* blockThings(reading: Reading, position: number, level: number): AsyncGenerator<Inspected> {
  if (reading.signal.aborted) throw new TidemarkError('ABORTED', 'the inspection was given up');
  let plain: Buffer;
  try {
    ({ plain } = await readBlock(reading.file, position, reading.path));
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error;
    yield { kind: 'damage', depth: 1, fields: { byte: position, what: error.message } };
    return;
  }
  yield { kind: 'block', depth: 1, fields: { byte: position, level, plainBytes: plain.length } };
  const walker = new EntryWalker();
  walker.reset(plain);
  while (walker.step()) {
    if (level > 0) yield* blockThings(reading, readU64(walker.bytes, walker.keyEnd), level - 1);
    else yield { kind: 'entry', depth: 2, fields: entryFields(walker) };
  }
}

/** As an entry of the base where it is one; of other runs the bytes. */
function entryFields({ tableId, bytes, keyStart, keyEnd, valueEnd }: EntryWalker): Readonly<Record<string, unknown>> {
  const key = bytes.subarray(keyStart, keyEnd);
  try {
    const { kind, offset, version, count, imageStart, imageEnd } = new ValueView().read(bytes, keyEnd, valueEnd);
    const isBag = kind === EntryKind.bag;
    return {
      tableId, is: KINDS.get(kind) ?? String(kind), offset, version,
      key: isBag ? null : keyText(key),
      row: isBag ? cellsOf(key) : kind === EntryKind.row ? cellsOf(bytes.subarray(imageStart, imageEnd)) : null,
      ...(isBag ? { count } : {}),
    };
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error;
    return { tableId, key: key.toString('hex'), value: bytes.subarray(keyEnd, valueEnd).toString('hex') };
  }
}
