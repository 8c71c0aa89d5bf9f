/** What every session of a sink begins with: its configuration resolved anew, and triggers that are held. */
import type { SinkConfig } from '../../contracts/config.ts';
import { sqlState } from './errors.ts';
import { resolveOptions, type SynchronousCommit } from './options.ts';
import type { Session, SessionSettings } from './session.ts';

export interface SinkSettings {
  readonly session: SessionSettings;
  readonly synchronousCommit: SynchronousCommit;
  readonly lockTimeoutMs: number;
}

/** The settings as they are now: secrets may have been changed. @throws TidemarkError `CONFIG_VALUE`, `CONFIG_SECRET` */
export async function sinkSettings({ name, options, freshOptions }: SinkConfig): Promise<SinkSettings> {
  const { url, passwordFile, synchronousCommit, lockTimeoutMs } = resolveOptions(name, freshOptions === undefined ? options : await freshOptions());
  const secretsChange = freshOptions !== undefined || passwordFile !== null;
  return { session: { url, passwordFile, secretsChange, synchronousCommit, applicationName: `tidemark ${name}` }, synchronousCommit, lockTimeoutMs };
}

/** No foreign key is enforced and no trigger fires in the session. Answers false when the role may not do that. */
export async function holdTriggers(session: Session): Promise<boolean> {
  try {
    await session.client.query('SET session_replication_role = replica');
    return true;
  } catch (error) {
    if (sqlState(error) !== '42501') throw error;
    return false;
  }
}
