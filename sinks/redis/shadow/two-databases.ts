import { TidemarkError } from '../../../contracts/errors/error.ts';
import { parseCheckpoint, type StoredCheckpoint } from '../checkpoint.ts';
import { ownKeys } from '../open-store.ts';
import type { RedisOptions } from '../options.ts';
import type { Connection } from '../resp/connection.ts';
import { ReplyError } from '../resp/reply-reader.ts';
import { accepted } from '../server-error.ts';

/** What stands in the database of the shadow. */
export type ShadowState =
  | { readonly kind: 'empty' }
  /** A set of this sink's own rebuilds: whole, in part, replaced, being removed. */
  | { readonly kind: 'set'; readonly checkpoint: StoredCheckpoint; readonly keys: number }
  | { readonly kind: 'foreign'; readonly why: string };

/** The database that is served and the one of the shadow, over one connection. The connection is the caller's. */
export class TwoDatabases {
  readonly connection: Connection;
  readonly live: number;
  readonly shadow: number;
  /** Redis key of the checkpoint in each of them. */
  readonly key: string;

  constructor(connection: Connection, live: number, shadow: number, options: RedisOptions) {
    this.connection = connection;
    this.live = live;
    this.shadow = shadow;
    this.key = ownKeys(options.prefix).checkpoint;
  }

  /** @throws TidemarkError */
  async select(database: number): Promise<void> {
    accepted(await this.connection.call('SELECT', String(database)), this.connection.address);
  }

  /** The checkpoint in a database, which stays chosen. @throws TidemarkError */
  async checkpointIn(database: number): Promise<StoredCheckpoint | null> {
    await this.select(database);
    return parseCheckpoint(await this.connection.call('HGETALL', this.key), this.connection.address);
  }

  /** Looks at the shadow's database, which stays chosen. @throws TidemarkError */
  async look(): Promise<ShadowState> {
    const { connection, shadow, key } = this;
    await this.select(shadow);
    const kind = accepted(await connection.call('TYPE', key), connection.address);
    const keys = Number(accepted(await connection.call('DBSIZE'), connection.address));
    if (kind === 'none') return keys === 0 ? { kind: 'empty' } : { kind: 'foreign', why: `database ${shadow} (\`shadow_db\`) holds keys, and no mark of this sink` };
    const checkpoint = kind === 'hash' ? await this.checkpointIn(shadow) : null;
    if (checkpoint === null) return { kind: 'foreign', why: `the key ${key} in database ${shadow} (\`shadow_db\`) holds something else than a checkpoint` };
    if (checkpoint.role === null) return { kind: 'foreign', why: `database ${shadow} (\`shadow_db\`) holds rows that a sink of this name serves or has served` };
    return { kind: 'set', checkpoint, keys };
  }

  /** Why the server does not swap the two; null: it would. Swaps nothing. */
  async refusal(): Promise<string | null> {
    const { connection, live, shadow } = this;
    const chosen = await connection.call('SELECT', String(shadow));
    if (chosen instanceof ReplyError) return `the server does not let the sink use database ${shadow} (\`shadow_db\`): ${chosen.text}`;
    await this.select(live);
    accepted(await connection.call('MULTI'), connection.address);
    const queued = await connection.call('SWAPDB', String(live), String(shadow));
    await connection.call('DISCARD');
    return queued instanceof ReplyError ? `the server refuses SWAPDB: ${queued.text}` : null;
  }
}

/** @throws TidemarkError `REBUILD_IN_THE_WAY` */
export function inTheWay(what: string, remedy: string): TidemarkError {
  return new TidemarkError('REBUILD_IN_THE_WAY', what, { remedy });
}
