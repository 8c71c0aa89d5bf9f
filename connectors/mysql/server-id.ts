import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Random } from '../../contracts/runtime.ts';
import { serverErrorNumber } from './errors.ts';
import type { ServerIdentity } from './identity.ts';
import { isAtLeast } from './server-version.ts';
import type { Session } from './session.ts';

const NO_PRIVILEGE = 1227;
const MAX = 0xffff_ffff;
const FIRST_PICKED = 0x1000_0000;
const ATTEMPTS = 100;

/**
 * The id to read the binlog under, as a replica: `wanted`, or one that no replica known to the server has. Replicas that
 * do not tell the server about themselves cannot be seen, so that a picked one is out of a large range.
 * @throws TidemarkError `MYSQL_SERVER_ID` when `wanted` is taken
 */
export async function pickServerId(session: Session, identity: ServerIdentity, wanted: number | null, random: Random): Promise<number> {
  const taken = new Set([identity.serverId, ...(await replicaIds(session))]);
  if (wanted !== null) {
    if (wanted === identity.serverId) throw new TidemarkError('MYSQL_SERVER_ID', `the server id ${wanted} is the server's own`);
    return wanted;
  }
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const id = FIRST_PICKED + Math.floor(random.unit() * (MAX - FIRST_PICKED));
    if (!taken.has(id)) return id;
  }
  throw new TidemarkError('MYSQL_SERVER_ID', 'no server id is free');
}

/** Of replicas that have registered; none where the user may not see them. */
export async function replicaIds(session: Session): Promise<number[]> {
  const isNew = session.version.flavor === 'mysql' && isAtLeast(session.version, 8, 0, 22);
  try {
    const rows = await session.query(isNew ? 'SHOW REPLICAS' : 'SHOW SLAVE HOSTS');
    return rows.map((row) => Number(row['Server_Id'] ?? row['Server_id']));
  } catch (error) {
    if (serverErrorNumber(error) === NO_PRIVILEGE) return [];
    throw error;
  }
}
