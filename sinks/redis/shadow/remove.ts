/** Removing a set: a shadow that is given up, or what a swap has replaced. Every step may be done again. */
import type { SinkConfig } from '../../../contracts/config.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { SwapProgress } from '../../../contracts/rebuild.ts';
import type { Logger } from '../../../contracts/runtime.ts';
import type { SetRole, StoredCheckpoint } from '../checkpoint.ts';
import { KeyScratch } from '../key-scratch.ts';
import { scanKeys } from '../keyspace.ts';
import { ownKeys, partitionOn } from '../open-store.ts';
import type { RedisOptions } from '../options.ts';
import type { Partition } from '../partition.ts';
import { CommandBuffer, encodeArgument } from '../resp/command-buffer.ts';
import type { Connection } from '../resp/connection.ts';
import { accepted } from '../server-error.ts';
import { OwnKeys } from './own-keys.ts';

const PUBLISH = encodeArgument('PUBLISH');

export interface RemoveParts {
  readonly config: SinkConfig;
  readonly options: RedisOptions;
  readonly logger: Logger;
  /** In the set's database. The caller's; used for nothing else meanwhile. */
  readonly connection: Connection;
  /** The database that is served. */
  readonly live: number;
  /** Unique for each taking over. */
  readonly owner: string;
  readonly onProgress: (progress: SwapProgress) => void;
}

/**
 * Takes the set over, so that nothing is applied to it any more, removes its keys in pieces, each in a fenced
 * transaction, and its checkpoint last. Only keys of the set are removed. What others have put among the rows of a set
 * while it was served goes back to the database that is served; a key that is there again by then stays where it is.
 */
export async function removeSet(parts: RemoveParts, stored: StoredCheckpoint, signal: AbortSignal): Promise<void> {
  const { config, options, logger, connection, live, owner, onProgress } = parts;
  const wasServed = stored.role === 'old';
  const partition = partitionOn(connection, { options }, '');
  const role: SetRole = wasServed ? 'old' : 'leaving';
  await partition.takeOver({ logId: stored.logId, owner, role }, (now) => {
    if (now.logId !== stored.logId || (now.role === 'old') !== wasServed || now.role === null) throw new TidemarkError('REBUILD_MOVED', 'the set that was to be removed is another one');
  });
  const own = await OwnKeys.read(connection, options.prefix, config);
  const names = ownKeys(options.prefix);
  const last = new Set([names.checkpoint, names.tables, names.versions, names.stale].map((name) => Buffer.from(name, 'utf8').toString('latin1')));
  const of = Number(accepted(await connection.call('DBSIZE'), connection.address));
  let removed = 0;
  for await (const keys of scanKeys(connection, '', Buffer.alloc(0), () => partition.settle(), signal)) {
    const leaving = keys.filter((key) => own.has(key) && !last.has(key.toString('latin1')));
    if (leaving.length > 0) partition.out.command('UNLINK', ...leaving);
    if (wasServed) {
      for (const key of keys) if (!own.has(key)) partition.out.command('MOVE', key, String(live));
      announce(partition, own, leaving);
    }
    await partition.push();
    removed += leaving.length;
    onProgress({ step: 'keys', done: removed, of });
  }
  await partition.erase(names.tables, names.versions, names.stale);
  const left = Number(accepted(await connection.call('DBSIZE'), connection.address));
  logger.log(left === 0 ? 'info' : 'warn', 'redis.set-removed', { removed, left, wasServed });
}

/** Whoever hears of a row looks again: one that is gone by the swap is in no table of the new set. */
function announce(partition: Partition, own: OwnKeys, keys: readonly Buffer[]): void {
  const scratch = new KeyScratch();
  for (const key of keys) {
    const channel = own.tableOf(key)?.channel ?? null;
    if (channel === null) continue;
    scratch.reset().append(key, 0, key.length);
    partition.publish(channel, scratch);
  }
}

/** Publishes every row that a swap has put in place, of the tables that publish. Of the database that is chosen. */
export async function announceRows(connection: Connection, own: OwnKeys, signal: AbortSignal): Promise<void> {
  if (own.tables.every(({ channel }) => channel === null)) return;
  const out = new CommandBuffer(connection.pool);
  const sent = async (): Promise<void> => {
    if (out.commands === 0) return;
    const chunk = out.take();
    connection.send(chunk);
    await connection.run(chunk.commands);
  };
  for await (const keys of scanKeys(connection, '', Buffer.alloc(0), sent, signal)) {
    for (const key of keys) {
      const channel = own.tableOf(key)?.channel ?? null;
      if (channel === null) continue;
      out.begin(3);
      out.raw(PUBLISH);
      out.raw(channel);
      out.argument(key, 0, key.length);
    }
  }
  await sent();
}
