import { resolve } from 'node:path';
import { inspectFile, type Inspected } from '../../log/embedded/inspect/inspect.ts';
import { inspectOffset } from '../../log/embedded/inspect/inspect-offset.ts';
import { createRuntime } from '../../runtime/runtime.ts';
import { say, type CliContext } from '../context.ts';
import { dataFolder, type HubOptions } from '../hub-access.ts';
import { inspectLines } from './inspect-text.ts';

export interface InspectOptions extends HubOptions {
  readonly json?: boolean;
}

/** Prints what stands in a file of the log, or the record at an offset. @param what a path, or SOURCE@OFFSET */
export async function inspectFiles(what: string, options: InspectOptions, context: CliContext): Promise<void> {
  const { files } = createRuntime({ logLevel: 'error' });
  const path = resolve(context.cwd, what);
  const [, source, offset] = /^(.+)@(\d+)$/.exec(what) ?? [];
  const isPlace = source !== undefined && offset !== undefined && !(await files.exists(path));
  const things = isPlace ? inspectOffset(files, await dataFolder(options, context), source, Number(offset)) : inspectFile(files, path, context.signal);
  for await (const thing of things) for (const line of linesOf(thing, options)) await say(context, line);
}

function linesOf(thing: Inspected, options: InspectOptions): string[] {
  return options.json === true ? [JSON.stringify({ is: thing.kind, ...thing.fields })] : inspectLines(thing);
}
