/**
 * A rebuild in place: readers keep what is there while the log is replayed over it.
 *
 * `begin` forgets the checkpoint and lists the keys that are there (all that the tables' templates, old and new, can
 * have written) in a set in Redis: the stale ones. The replay takes each key that it writes or removes off the set, in
 * the transaction of the write. What is left at the end is what the log does not have: `sweep` removes it. So a server
 * that was emptied has nothing to list, nothing is removed that was not there before, and memory is bounded by pieces.
 */
import type { Logger } from '../../contracts/runtime.ts';
import { KeyMatcher } from './key-matcher.ts';
import { KeyWalker, type KeySource } from './key-walker.ts';
import type { ValueKind } from './options.ts';
import type { Store } from './store.ts';
import type { TableLayout } from './table-layout.ts';
import { storedTemplate, type StoredTable, type TableSet } from './table-set.ts';

/** Keys of one kind that may be there when a rebuild begins. */
interface Source extends KeySource {
  /** The rows hold another kind of value than they will: they cannot be written over. */
  readonly replaced: boolean;
}

export interface RebuildParts {
  readonly store: Store;
  /** As the configuration has them now. */
  readonly tables: TableSet;
  /** As Redis had them. */
  readonly stored: ReadonlyMap<number, StoredTable>;
  readonly tablesKey: string;
  readonly logger: Logger;
}

/** Up to the first record of the replay. Done again from the beginning when it was cut short. @throws TidemarkError */
export async function beginRebuild(parts: RebuildParts, signal: AbortSignal): Promise<void> {
  const { store, tables, stored, tablesKey, logger } = parts;
  await store.beginRebuild();
  const now = tables.all();
  const sources = sourcesOf(stored, now);
  let listed = 0;
  for (const source of sources) if (source.index !== null) listed += await listIndexed(store, source, signal);
  listed += await listByName(store, sources, signal);
  const kept = new Set(now.map(({ index }) => index));
  for (const { index } of stored.values()) if (index !== null && !kept.has(index)) await store.dropSet(index);
  store.control.out.command('UNLINK', tablesKey);
  await store.settle();
  await store.beginReplay();
  logger.log('info', 'redis.rebuild-begun', { stale: listed });
}

/** Removes what the replay did not write. May be cut short and done again. @throws TidemarkError */
export async function sweep(store: Store, tables: TableSet, logger: Logger, signal: AbortSignal): Promise<void> {
  const matcher = new KeyMatcher<TableLayout>(tables.live());
  const walker = new KeyWalker(store);
  let removed = 0;
  for (let keys = await store.staleKeys(); keys.length > 0; keys = await store.staleKeys()) {
    signal.throwIfAborted();
    for (const key of keys) {
      await walker.remove(store.targetOf(key), matcher.find(key.subarray(store.tagLength)), key);
      removed++;
    }
    await store.settle();
  }
  await store.endRebuild();
  logger.log('info', 'redis.rebuild-swept', { removed });
}

function sourcesOf(stored: ReadonlyMap<number, StoredTable>, now: readonly TableLayout[]): Source[] {
  const sources = new Map<string, Source>();
  const kinds = new Map<number, ValueKind>(now.map(({ schema, value }) => [schema.tableId, value]));
  for (const [tableId, table] of stored) {
    const kind = kinds.get(tableId) ?? table.value;
    const template = storedTemplate(table);
    // A plain SET takes the place of any kind of value.
    sources.set(`${template.fingerprint} ${table.index}`, { template, index: table.index, replaced: kind !== table.value && kind !== 'json' });
  }
  for (const { template, index } of now) {
    const name = `${template.fingerprint} ${index}`;
    if (!sources.has(name)) sources.set(name, { template, index, replaced: false });
  }
  return [...sources.values()];
}

async function listIndexed(store: Store, source: Source, signal: AbortSignal): Promise<number> {
  let listed = 0;
  for await (const keys of new KeyWalker(store).keysOf(source, signal)) listed += await list(store, keys, source.replaced);
  return listed;
}

/** One walk over all keys for all tables without a set of their own. */
async function listByName(store: Store, sources: readonly Source[], signal: AbortSignal): Promise<number> {
  const matcher = new KeyMatcher<Source>(sources.filter(({ index }) => index === null));
  if (matcher.isEmpty) return 0;
  let listed = 0;
  for await (const found of store.scan(matcher.commonPrefix, signal)) {
    const keys: Buffer[] = [];
    const replaced: Buffer[] = [];
    for (const key of found) {
      const source = matcher.find(key.subarray(store.tagLength));
      if (source !== null) (source.replaced ? replaced : keys).push(key);
    }
    listed += (await list(store, keys, false)) + (await list(store, replaced, true));
  }
  return listed;
}

async function list(store: Store, keys: readonly Buffer[], replaced: boolean): Promise<number> {
  if (keys.length === 0) return 0;
  if (!replaced) await store.markStale(keys);
  else {
    const walker = new KeyWalker(store);
    for (const key of keys) await walker.remove(store.targetOf(key), null, key);
    await store.settle();
  }
  return keys.length;
}
