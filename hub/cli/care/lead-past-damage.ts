import { TidemarkError } from '../../../contracts/errors/error.ts';
import { bytesToCheck } from '../../log/embedded/check/check-log.ts';
import { logFolders, stoppedLog } from '../../log/embedded/held-log.ts';
import { levelLock } from '../../log/embedded/lock.ts';
import { passDamage } from '../../log/embedded/recovery/pass-damage.ts';
import { createRuntime } from '../../runtime/runtime.ts';
import { say, type CliContext } from '../context.ts';
import { withHub, type HubOptions } from '../hub-access.ts';
import { ByteProgress } from './byte-progress.ts';

/** Gives up what a damaged log holds, so that the hub copies every table of the source again. No hub may run meanwhile. */
export async function leadPastDamage(source: string, options: HubOptions, context: CliContext): Promise<void> {
  await withHub(
    options,
    context,
    () => Promise.reject(new TidemarkError('LOG_LOCKED', 'a hub runs in the data folder', { where: { source }, remedy: 'Stop the hub first.' })),
    (data) => inStopped(source, data, context),
  );
}

async function inStopped(source: string, data: string, context: CliContext): Promise<void> {
  const runtime = createRuntime({ logLevel: 'error' });
  const { files } = runtime;
  const found = (await logFolders(files, data)).find((log) => log.source === source);
  if (found === undefined) throw new TidemarkError('SOURCE_UNKNOWN', `${data} has no log of a source ${source}`, { where: { source } });
  await using _lock = await levelLock.acquire(data, runtime);
  const log = await stoppedLog(files, data, found.folder);
  using bar = new ByteProgress(context, runtime.clock, 'recopy', await bytesToCheck(files, data, log));
  const { horizon } = await passDamage({ files, data, log, signal: context.signal, progress: (bytes) => bar.add(bytes) });
  bar[Symbol.dispose]();
  await say(context, `${source}  the log begins anew behind offset ${horizon}: what it held is given up`);
  await say(context, 'A hub that starts there copies every table again. When `tidemark status` shows them as consistent, fill the sinks');
  await say(context, 'again with `tidemark rebuild SINK`; those with `when_behind: rebuild` begin by themselves, and follow the copies.');
}
