import { resolve } from 'node:path';
import type { Offset } from '../../../contracts/offset.ts';
import type { FileSystem } from '../../../contracts/runtime.ts';
import { inspectFile, type Inspected } from '../../log/embedded/inspect/inspect.ts';
import { inspectOffset } from '../../log/embedded/inspect/inspect-offset.ts';
import { resolveMoment } from '../../moments/resolve.ts';
import { createRuntime } from '../../runtime/runtime.ts';
import { say, type CliContext } from '../context.ts';
import { dataFolder, type HubOptions } from '../hub-access.ts';
import { openStopped, stoppedLog } from '../stopped/stopped-hub.ts';
import { inspectLines } from './inspect-text.ts';

export interface InspectOptions extends HubOptions {
  readonly json?: boolean;
}

/** Prints what stands in a file of the log, or the record at a moment. @param what a path, or SOURCE@MOMENT */
export async function inspectFiles(what: string, options: InspectOptions, context: CliContext): Promise<void> {
  const { files } = createRuntime({ logLevel: 'error' });
  const path = resolve(context.cwd, what);
  const [, source, moment] = /^([^/]+)@([^@]+)$/.exec(what) ?? [];
  const isPlace = source !== undefined && moment !== undefined && !(await files.exists(path));
  const things = isPlace ? inspectMoment(files, await dataFolder(options, context), source, moment, context) : inspectFile(files, path, context.signal);
  for await (const thing of things) for (const line of linesOf(thing, options)) await say(context, line);
}

async function* inspectMoment(files: FileSystem, data: string, source: string, moment: string, context: CliContext): AsyncGenerator<Inspected> {
  yield* inspectOffset(files, data, source, /^\d+$/.test(moment) ? Number(moment) : await offsetAt(data, source, moment, context));
}

/** By the log as its folder has it at this moment, beside a hub that runs, too. */
async function offsetAt(data: string, source: string, moment: string, context: CliContext): Promise<Offset> {
  const { connectors } = await context.registry();
  await using engine = await openStopped(data);
  const log = await stoppedLog(engine, data, source);
  return await resolveMoment(moment, log, { codecs: connectors.map(({ positions }) => positions), now: context.now(), signal: context.signal });
}

function linesOf(thing: Inspected, options: InspectOptions): string[] {
  return options.json === true ? [JSON.stringify({ is: thing.kind, ...thing.fields })] : inspectLines(thing);
}
