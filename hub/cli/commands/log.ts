import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import { bytesToCheck, checkLog, unreadableManifest, type LogCheckSummary } from '../../log/embedded/check/check-log.ts';
import type { LogFinding } from '../../log/embedded/check/finding.ts';
import { MANIFEST_FILE } from '../../log/embedded/manifest.ts';
import { inspectFile, type Inspected } from '../../log/embedded/inspect/inspect.ts';
import { inspectOffset } from '../../log/embedded/inspect/inspect-offset.ts';
import { createRuntime } from '../../runtime/runtime.ts';
import { ByteProgress } from '../byte-progress.ts';
import { say, type CliContext } from '../context.ts';
import { findingLines, summaryLine } from '../finding-text.ts';
import { withHeldFolder, type Held } from '../held-folder.ts';
import { dataFolder, examples, withHubOptions, type HubOptions } from '../hub-access.ts';
import { inspectLines } from '../inspect-text.ts';

interface VerifyOptions extends HubOptions {
  readonly json?: boolean;
  readonly quick?: boolean;
  readonly scratch?: string;
}

interface InspectOptions extends HubOptions {
  readonly json?: boolean;
}

export function addLogCommands(program: Command, context: CliContext): void {
  const group = program.command('log').description("Check the log's files, or look into one");
  withHubOptions(group.command('verify'))
    .description('Read every file of the log and name what is not as it was written; exit code 1 if anything is')
    .argument('[source]', 'the log of this source only')
    .option('--json', 'one JSON object per finding, and one per log')
    .option('--quick', 'leave out whether every update and delete has a row to act on')
    .option('--scratch <folder>', 'where keys are sorted', tmpdir())
    .addHelpText('after', examples('tidemark log verify', 'tidemark log verify shop --json', 'tidemark log verify --data ./restored --quick'))
    .action((source: string | undefined, options: VerifyOptions) => verify(source, options, context));
  withHubOptions(group.command('inspect'))
    .description('Print what stands in a file of the log, or the record at an offset')
    .argument('<what>', 'a manifest, segment, index, run or catalog; or SOURCE@OFFSET')
    .option('--json', 'one JSON object per line')
    .addHelpText('after', examples('tidemark log inspect data/log/shop/0000000001.segment', 'tidemark log inspect data/log/shop/manifest', 'tidemark log inspect shop@120345'))
    .action((what: string, options: InspectOptions) => inspect(what, options, context));
}

async function verify(source: string | undefined, options: VerifyOptions, context: CliContext): Promise<void> {
  const runtime = createRuntime({ logLevel: 'error' });
  await withHeldFolder(options, context, runtime, (held) => verifyHeld(source, held, options, context, runtime));
}

async function verifyHeld(source: string | undefined, held: Held, options: VerifyOptions, context: CliContext, runtime: Runtime): Promise<void> {
  const { folder, unreadable, signal } = held;
  const logs = folder.logs.filter((log) => source === undefined || log.source === source);
  const broken = unreadable.filter((log) => source === undefined || log.source === source);
  if (logs.length === 0 && broken.length === 0) throw new TidemarkError('SOURCE_UNKNOWN', `${folder.data} has no log${source === undefined ? '' : ` of a source ${source}`}`, { where: source === undefined ? {} : { source } });
  const findings: LogFinding[] = broken.map(({ source: of, error }) => unreadableManifest(of, MANIFEST_FILE, error));
  for (const finding of findings) await tell(finding, options, context);
  let total = 0;
  for (const log of logs) total += await bytesToCheck(runtime.files, folder.data, log);
  const summaries: LogCheckSummary[] = [];
  {
    using progress = new ByteProgress(context, runtime.clock, 'log verify', total);
    for (const log of logs) {
      const scratch = options.quick === true ? null : join(resolve(context.cwd, options.scratch ?? tmpdir()), `tidemark-verify-${process.pid}`);
      const found = (finding: LogFinding): void => void findings.push(finding);
      summaries.push(await checkLog({ files: runtime.files, data: folder.data, log, scratch, found, progress: (bytes) => progress.add(bytes), signal }).catch(givenUp(signal)));
    }
  }
  for (const finding of findings.slice(broken.length)) await tell(finding, options, context);
  for (const summary of summaries) await say(context, options.json === true ? JSON.stringify({ checked: summary }) : summaryLine(summary));
  if (findings.length > 0) context.outcome.exitCode = 1;
}

async function tell(finding: LogFinding, options: VerifyOptions, context: CliContext): Promise<void> {
  for (const line of options.json === true ? [JSON.stringify({ finding })] : findingLines(finding)) await say(context, line);
}

function givenUp(signal: AbortSignal): (error: unknown) => never {
  return (error) => {
    if (!signal.aborted) throw error;
    throw signal.reason instanceof TidemarkError ? signal.reason : new TidemarkError('ABORTED', 'the check was given up', { cause: error });
  };
}

async function inspect(what: string, options: InspectOptions, context: CliContext): Promise<void> {
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
