import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Random } from '../../contracts/runtime.ts';
import { serverErrorNumber } from './errors.ts';
import { formatUuid } from './gtid-set.ts';
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

/** Under which the server knows a reader of its binlog. */
export interface ReplicaId {
  readonly serverId: number;
  /** A connection of the same that the server still has is ended by a new one. */
  readonly replicaUuid: string;
}

/** The ids of one source's readers. A stream keeps its own as long as it is not taken, so that what is left of a lost one is ended. */
export class ReplicaIds {
  readonly #wanted: number | null;
  readonly #random: Random;
  #ofStream: ReplicaId | null = null;

  constructor(wanted: number | null, random: Random) {
    this.#wanted = wanted;
    this.#random = random;
  }

  /** `once`: beside the stream, for a moment. @throws TidemarkError `MYSQL_SERVER_ID` */
  async pick(session: Session, identity: ServerIdentity, use: 'stream' | 'once'): Promise<ReplicaId> {
    if (use === 'once') return this.#new(await pickServerId(session, identity, null, this.#random));
    const known = this.#ofStream;
    if (known !== null && known.serverId !== identity.serverId) return known;
    const picked = this.#new(await pickServerId(session, identity, this.#wanted, this.#random));
    this.#ofStream = picked;
    return picked;
  }

  /** What a stream has failed with: where an id that was picked turns out to be taken, another one is worth a try. */
  judge(error: unknown): unknown {
    if (!(error instanceof TidemarkError) || error.code !== 'MYSQL_SERVER_ID' || this.#wanted !== null) return error;
    this.#ofStream = null;
    return new TidemarkError(error.code, error.message, { where: error.where, cause: error, retry: 'auto' });
  }

  #new(serverId: number): ReplicaId {
    const bytes = this.#random.bytes(16);
    bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
    bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
    return { serverId, replicaUuid: formatUuid(bytes, 0) };
  }
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
