import { resolve } from 'node:path';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import { formatSize } from '../../../contracts/units.ts';
import { mustBeBackups, readBackups } from '../../backup/backup-folder.ts';
import { mendLogs } from '../../backup/mend.ts';
import { chosenBackup, restoreBackup } from '../../backup/restore.ts';
import { bytesToBackUp } from '../../backup/take-backup.ts';
import { logFolders, stoppedLog, type HeldLog } from '../../log/embedded/held-log.ts';
import { levelLock } from '../../log/embedded/lock.ts';
import { createRuntime } from '../../runtime/runtime.ts';
import { ByteProgress } from './byte-progress.ts';
import { say, type CliContext } from '../context.ts';
import { textTable } from '../text/text-table.ts';

export interface PutBackOptions {
  readonly to?: string;
  readonly backup?: string;
  readonly list?: boolean;
  readonly damaged?: boolean;
  readonly json?: boolean;
}

/** Writes a data folder as a backup has it, puts damaged files of one back, or lists the backups. @param from absolute */
export async function putBack(from: string, options: PutBackOptions, context: CliContext): Promise<void> {
  const runtime = createRuntime({ logLevel: 'error' });
  if (options.damaged === true && options.backup !== undefined) throw new TidemarkError('USAGE', '--damaged takes each file from whichever backup has it: leave --backup out');
  await mustBeBackups(runtime.files, from);
  if (options.list === true) return list(from, options, context, runtime);
  if (options.to === undefined) throw new TidemarkError('USAGE', 'the data folder is missing: --to DATA');
  const to = resolve(context.cwd, options.to);
  if (options.damaged === true) return mend(from, to, options, context, runtime);
  const chosen = await chosenBackup(runtime.files, from, options.backup ?? null);
  {
    const bytes = chosen.list.files.reduce((sum, file) => sum + file.bytes, 0);
    using bar = new ByteProgress(context, runtime.clock, 'restore', bytes);
    await restoreBackup({ files: runtime.files, from, list: chosen.list, to, signal: context.signal, progress: (done) => bar.add(done) });
  }
  const { name, list: { takenAt, logs } } = chosen;
  if (options.json === true) return say(context, JSON.stringify({ restored: name, takenAt, logs, to }));
  for (const { source, horizon, highWatermark } of logs) await say(context, `${source}  offsets ${horizon} to ${highWatermark}`);
  await say(context, `backup ${name} of ${takenAt} is restored to ${to}`);
  await say(context, 'A hub that starts there goes on where each source still has what follows; it says so where one has not, and');
  await say(context, '`tidemark source resync SOURCE` then copies the tables again. A replica that is ahead of it stops with SINK_DIVERGED until');
  await say(context, '`tidemark rebuild SINK` (with `when_behind: rebuild` by itself, as caches do).');
}

async function list(from: string, options: PutBackOptions, context: CliContext, runtime: Runtime): Promise<void> {
  const { backups, damaged } = await readBackups(runtime.files, from);
  const rows = backups.map(({ name, list: { takenAt, version, logs, files } }) => ({ name, takenAt, version, logs, bytes: files.reduce((sum, file) => sum + file.bytes, 0) }));
  if (options.json === true) {
    for (const row of rows) await say(context, JSON.stringify(row));
    for (const name of damaged) await say(context, JSON.stringify({ name, damaged: true }));
    return;
  }
  const shown = rows.map(({ name, takenAt, bytes, logs }) => [name, takenAt, formatSize(bytes), logs.map(({ source, horizon, highWatermark }) => `${source} ${horizon} to ${highWatermark}`).join(', ')]);
  const unreadable = damaged.map((name) => [name, 'its list is damaged', '', '']);
  for (const line of textTable(['BACKUP', 'TAKEN', 'SIZE>', 'OFFSETS'], [...shown, ...unreadable])) await say(context, line);
}

async function mend(from: string, data: string, options: PutBackOptions, context: CliContext, runtime: Runtime): Promise<void> {
  const { files } = runtime;
  const folders = await logFolders(files, data);
  await using _lock = await levelLock.acquire(data, runtime);
  const logs: HeldLog[] = [];
  for (const { folder } of folders) logs.push(await stoppedLog(files, data, folder));
  const folder = { data, logs };
  using bar = new ByteProgress(context, runtime.clock, 'restore', bytesToBackUp(folder));
  const { mended, missing } = await mendLogs({ files, from, folder, signal: context.signal, progress: (done) => bar.add(done) });
  bar[Symbol.dispose]();
  if (options.json === true) await say(context, JSON.stringify({ mended, missing }));
  else {
    for (const path of mended) await say(context, `${path}  put back`);
    for (const path of missing) await say(context, `${path}  is damaged, and in no backup`);
    if (mended.length + missing.length === 0) await say(context, 'no file of the logs that never changes is damaged (the newest segment is none: only a whole backup has it)');
  }
  if (missing.length > 0) context.outcome.exitCode = 1;
}
