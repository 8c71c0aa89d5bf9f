/** Which of the servers that a source's address names the log can go on at. */
import { TidemarkError, asTidemarkError } from '../../contracts/errors/error.ts';
import { formatMysqlHost, type MysqlHost } from '../../contracts/types/mysql-address.ts';
import { checkPlace, readIdentity, type ServerIdentity } from './identity.ts';
import type { BinlogPlace } from './position.ts';
import { requireRowBinlog } from './requirements.ts';
import type { Endpoint, Session } from './session.ts';

export interface FoundServer {
  /** The caller's to end. */
  readonly session: Session;
  readonly identity: ServerIdentity;
}

/** A server that the log cannot go on at, where another one of the address may do. */
const PASSED_OVER: ReadonlySet<string> = new Set([
  'MYSQL_UNREACHABLE', 'MYSQL_DIVERGED', 'MYSQL_BINLOG_PURGED', 'MYSQL_SERVER_CHANGED', 'MYSQL_BINLOG_OFF', 'MYSQL_BINLOG_FORMAT', 'MYSQL_ROW_IMAGE',
]);

/**
 * A session with the first server that answers and has the place in its binlog; null: that answers and writes rows. A
 * replica that is behind the log is passed over. Where none will do while one does not answer, that one may: it is tried again.
 * @throws TidemarkError as `Endpoint.open`, `checkPlace` and `requireRowBinlog`, of the first server that answered
 */
export async function findServer(endpoint: Endpoint, place: BinlogPlace | null, signal: AbortSignal): Promise<FoundServer> {
  const failures: { readonly host: MysqlHost; readonly error: TidemarkError }[] = [];
  for (const host of await endpoint.hosts()) {
    try {
      return await serverAt(endpoint, host, place, signal);
    } catch (failure) {
      const error = asTidemarkError(failure, 'INTERNAL');
      if (!PASSED_OVER.has(error.code)) throw error;
      failures.push({ host, error });
    }
  }
  const refused = failures.find(({ error }) => error.code !== 'MYSQL_UNREACHABLE');
  const main = (refused ?? failures[0])?.error;
  if (main === undefined) throw new TidemarkError('MYSQL_URL', 'the address names no host');
  if (failures.length === 1) throw main;
  const isOneAway = failures.some(({ error }) => error.code === 'MYSQL_UNREACHABLE');
  throw new TidemarkError(main.code, failures.map(({ host, error }) => `${formatMysqlHost(host)}: ${error.message}`).join('; '), {
    where: main.where, remedy: main.remedy, cause: main, retry: isOneAway ? 'auto' : main.retry,
  });
}

async function serverAt(endpoint: Endpoint, host: MysqlHost, place: BinlogPlace | null, signal: AbortSignal): Promise<FoundServer> {
  await using opening = new AsyncDisposableStack();
  const session = opening.use(await endpoint.open(signal, { only: host }));
  const identity = await readIdentity(session);
  requireRowBinlog(identity);
  if (place !== null) await checkPlace(session, identity, place);
  opening.move();
  return { session, identity };
}
