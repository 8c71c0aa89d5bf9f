import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import { bytesToCheck, checkLog, unreadableManifest, type LogCheckSummary } from '../../log/embedded/check/check-log.ts';
import type { LogFinding } from '../../log/embedded/check/finding.ts';
import { MANIFEST_FILE } from '../../log/embedded/manifest.ts';
import { createRuntime } from '../../runtime/runtime.ts';
import { say, type CliContext } from '../context.ts';
import type { HubOptions } from '../hub-access.ts';
import { ByteProgress } from './byte-progress.ts';
import { findingLines, summaryLine } from './finding-text.ts';
import { withHeldFolder, type Held } from './held-folder.ts';

export interface CheckFilesOptions extends HubOptions {
  readonly json?: boolean;
  readonly quick?: boolean;
  readonly scratch?: string;
}

/** Reads every file of the log, of one source or of all, and says what is not as it was written; exit code 1 if anything is. */
export async function checkFiles(source: string | undefined, options: CheckFilesOptions, context: CliContext): Promise<void> {
  const runtime = createRuntime({ logLevel: 'error' });
  await withHeldFolder(options, context, runtime, (held) => checkHeld(source, held, options, context, runtime));
}

async function checkHeld(source: string | undefined, held: Held, options: CheckFilesOptions, context: CliContext, runtime: Runtime): Promise<void> {
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

async function tell(finding: LogFinding, options: CheckFilesOptions, context: CliContext): Promise<void> {
  for (const line of options.json === true ? [JSON.stringify({ finding })] : findingLines(finding)) await say(context, line);
}

function givenUp(signal: AbortSignal): (error: unknown) => never {
  return (error) => {
    if (!signal.aborted) throw error;
    throw signal.reason instanceof TidemarkError ? signal.reason : new TidemarkError('ABORTED', 'the check was given up', { cause: error });
  };
}
