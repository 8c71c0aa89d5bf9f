import { formatSize } from '../../../contracts/units.ts';
import { claimFolder } from '../../backup/backup-folder.ts';
import { bytesToBackUp, takeBackup } from '../../backup/take-backup.ts';
import { levelLock } from '../../log/embedded/lock.ts';
import { createRuntime } from '../../runtime/runtime.ts';
import { ByteProgress } from './byte-progress.ts';
import { say, type CliContext } from '../context.ts';
import { withHeldFolder } from './held-folder.ts';
import type { HubOptions } from '../hub-access.ts';
import { grouped } from '../text/text-table.ts';

export interface BackUpOptions extends HubOptions {
  readonly json?: boolean;
}

/** Backs the logs of a hub up into a folder of backups, and says what was copied. @param to absolute */
export async function backUp(to: string, options: BackUpOptions, context: CliContext): Promise<void> {
  const runtime = createRuntime({ logLevel: 'error' });
  await claimFolder(runtime.files, to);
  await using _lock = await levelLock.acquire(to, runtime);
  const { name, list, bytes, addedBytes, linked } = await withHeldFolder(options, context, runtime, async ({ folder, unreadable, signal }) => {
    const [broken] = unreadable;
    if (broken !== undefined) throw broken.error;
    using bar = new ByteProgress(context, runtime.clock, 'backup', bytesToBackUp(folder));
    return await takeBackup({ runtime, folder, to, version: context.version, signal, progress: (done) => bar.add(done) });
  });
  const { files, logs, takenAt } = list;
  if (options.json === true) return await say(context, JSON.stringify({ name, takenAt, logs, files: files.length, bytes, addedBytes, linked }));
  for (const { source, horizon, highWatermark } of logs) await say(context, `${source}  offsets ${horizon} to ${highWatermark}`);
  const brought = linked === 0 ? '' : `, ${grouped(linked)} of the files as second names on the same disk`;
  await say(context, `backup ${name}: ${formatSize(bytes)} in ${grouped(files.length)} files, ${formatSize(addedBytes)} of it new${brought}`);
}
