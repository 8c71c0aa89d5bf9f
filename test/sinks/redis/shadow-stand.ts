import { Redis } from 'ioredis';
import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import type { ShadowRebuild, Swap } from '../../../contracts/rebuild.ts';
import type { Sink, SinkBatch } from '../../../contracts/sink.ts';
import type { TableOptions } from '../../../sinks/redis/options.ts';
import type { RedisServer } from '../../fixtures/redis.ts';
import type { CacheSettings } from './cache-place.ts';
import { CacheStand, never } from './stand.ts';

export const CHECKPOINT = 'tidemark:{cache}:checkpoint';
export const SHADOW_DB = 1;

export function shadowSettings(port: number, table: TableOptions = {}): CacheSettings {
  return { options: { url: `redis://127.0.0.1:${port}`, shadow_db: SHADOW_DB }, table };
}

export function shadowOf(sink: Sink): ShadowRebuild {
  if (sink.shadow === undefined) throw new Error('the sink has no shadow');
  return sink.shadow;
}

/** Puts the shadow in place and removes what that has replaced, as the hub does. */
export async function exchange(shadow: ShadowRebuild, swap: Swap): Promise<void> {
  await shadow.swap(swap, never);
  await shadow.clear?.(() => undefined, never);
}

/** A client of the shadow's database. The caller disconnects it. */
export function shadowClient(port: number): Redis & Disposable {
  const client = new Redis({ host: '127.0.0.1', port, db: SHADOW_DB, retryStrategy: () => null, maxRetriesPerRequest: 0 });
  client.on('error', () => undefined);
  return Object.assign(client, { [Symbol.dispose]: () => client.disconnect() });
}

/** A sink of the rows 51 to `last`, of which somebody has removed two and spoilt one. */
export async function spoiltCache(server: RedisServer, table: TableOptions = {}, last = 1500): Promise<CacheStand> {
  await using client = server.client();
  await client.flushall();
  const stand = await CacheStand.at(shadowSettings(server.port, table), [server.port]);
  await stand.open();
  const things = stand.table();
  for (let id = 1; id <= last; id++) things.insert(id, 'one');
  await stand.apply();
  for (let id = 100; id <= 200; id++) things.update(id, 'two');
  for (let id = 1; id <= 50; id++) things.remove(id);
  await stand.apply();
  const { redis } = stand.client;
  await redis.del(`kit.things:${last}`, `kit.things:${last - 1}`);
  if (table.value === undefined) await redis.hset(`kit.things:${last - 2}`, 'name', 'spoilt');
  return stand;
}

/** Leads the shadow through the log from where it stands, as the hub does. Answers its checkpoint. */
export async function fill(stand: CacheStand, sink: Sink = stand.sink, batches: readonly SinkBatch[] = stand.log): Promise<Checkpoint> {
  await using shadow = shadowOf(sink).open(() => true);
  const checkpoint = await shadow.open(stand.model.start(), never);
  for (const batch of batches) if (batch.to > (checkpoint?.offset ?? 0)) await stand.apply(batch, shadow);
  const filled = await shadow.open(stand.model.start(), never);
  if (filled === null) throw new Error('the shadow has no checkpoint');
  return filled;
}

/** The sink's checkpoint, as the hub asks for it while the sink is held. */
export async function held(stand: CacheStand, sink: Sink = stand.sink): Promise<Checkpoint | null> {
  const checkpoint = await stand.open(sink);
  await sink[Symbol.asyncDispose]();
  return checkpoint;
}

export async function request(stand: CacheStand, sink: Sink = stand.sink): Promise<Swap> {
  const to = await fill(stand, sink);
  return { from: await held(stand, sink), to, tables: stand.model.tables.map(({ schema }) => schema), whole: true };
}
