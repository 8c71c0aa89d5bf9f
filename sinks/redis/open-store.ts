import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock } from '../../contracts/runtime.ts';
import { lesserProgress, type Progress, type RebuildState, type SetRole, type StoredCheckpoint } from './checkpoint.ts';
import { ownerOf, type Discovery } from './discovery.ts';
import { FencedStore, partitionTag, PARTITIONS } from './fenced-store.ts';
import type { RedisOptions } from './options.ts';
import { Partition, type TransactionLimits } from './partition.ts';
import { PlainStore } from './plain-store.ts';
import type { Connection } from './resp/connection.ts';
import type { Store } from './store.ts';

/** Another set of rows than the one that is served. */
export interface OtherSet {
  readonly database: number;
  readonly role: SetRole;
}

/** What opening a sink needs. */
export interface OpenParts {
  readonly options: RedisOptions;
  readonly discovery: Discovery;
  readonly clock: Clock;
  readonly logId: string;
  /** Unique for each taking over. */
  readonly owner: string;
  /** Null: the set is the one that is served. */
  readonly role: SetRole | null;
  /** Another text each time. */
  readonly token: () => string;
  readonly signal: AbortSignal;
}

export interface OpenedStore {
  readonly store: Store;
  readonly fence: number;
  readonly rebuild: RebuildState | null;
  /** What all parts of the store have applied at least; null: nothing, or a part has lost what it had. */
  readonly applied: Progress | null;
  /** A part of the store has lost what the control partition says that it had. */
  readonly lostPart: boolean;
}

/** Names of the sink's own keys. */
export function ownKeys(prefix: string, tag = '') {
  const own = `${tag}${prefix}`;
  return { checkpoint: `${own}checkpoint`, stale: `${own}stale`, versions: `${own}versions`, tables: `${own}tables` };
}

/** Connects and takes the sink over. @throws TidemarkError `SINK_FOREIGN`, `SINK_UNREACHABLE`, `REDIS_...` */
export async function openStore(parts: OpenParts): Promise<OpenedStore> {
  switch (parts.options.cluster) {
    case null:
      return openSingle(parts);
    case 'tagged':
      return openTagged(parts);
    case 'plain':
      return openPlain(parts);
  }
}

async function openSingle(parts: OpenParts): Promise<OpenedStore> {
  const connection = await parts.discovery.primary(parts.signal);
  const store = new FencedStore(...alone(partitionOn(connection, parts, '')));
  return disposedOnFailure(store, async () => {
    const stored = await takeOver(store.control, parts);
    return opened(store, stored, stored.applied);
  });
}

function alone(partition: Partition): [Partition, Partition[]] {
  return [partition, [partition]];
}

async function openPlain(parts: OpenParts): Promise<OpenedStore> {
  const { discovery, clock, options, signal, token } = parts;
  const topology = await discovery.topology(signal);
  const control = partitionOn(await discovery.node(ownerOf(topology, options.prefix), signal), parts, '');
  const store = await PlainStore.open({ discovery, clock, control, topology, prefix: options.prefix, signal, token }).catch(async (error: unknown) => {
    await control.connection[Symbol.asyncDispose]();
    throw error;
  });
  return disposedOnFailure(store, async () => {
    const stored = await takeOver(control, parts);
    const applied = stored.applied === null ? null : await store.readMarks(stored.applied, stored);
    return opened(store, stored, applied);
  });
}

/** One connection for each tag: transactions of different tags run side by side, and each has a WATCH of its own. */
async function openTagged(parts: OpenParts): Promise<OpenedStore> {
  const { discovery, options, signal } = parts;
  const topology = await discovery.topology(signal);
  const tags = Array.from({ length: PARTITIONS }, (_, partition) => partitionTag(partition));
  const made: Connection[] = [];
  const connect = async (tag: string): Promise<Partition> => {
    const connection = await discovery.node(ownerOf(topology, tag + options.prefix), signal);
    made.push(connection);
    return partitionOn(connection, parts, tag);
  };
  const results = await Promise.allSettled(['', ...tags].map(connect));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await Promise.all(made.map((connection) => connection[Symbol.asyncDispose]()));
    throw failed.reason;
  }
  const [control, ...partitions] = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  if (control === undefined) throw new TidemarkError('INTERNAL', 'a tagged cluster without a control partition');
  const store = new FencedStore(control, partitions);
  return disposedOnFailure(store, async () => {
    // The control partition first: whoever holds it is the owner.
    const stored = await takeOver(control, parts);
    const others = await Promise.all(partitions.map((partition) => takeOver(partition, parts)));
    let least = stored.applied;
    for (const { applied } of others) {
      least = applied === null || least === null ? null : lesserProgress(least, applied);
    }
    return opened(store, stored, least);
  });
}

async function opened(store: Store, stored: StoredCheckpoint, applied: Progress | null): Promise<OpenedStore> {
  for (const partition of store.versioned) {
    await partition.loadVersions();
    if (stored.rebuild === 'replaying') await partition.findStale();
  }
  return {
    store,
    fence: stored.fence,
    rebuild: stored.rebuild,
    applied,
    lostPart: stored.applied !== null && applied === null,
  };
}

async function takeOver(partition: Partition, { logId, owner, role }: OpenParts): Promise<StoredCheckpoint> {
  return partition.takeOver({ logId, owner, role }, (stored) => {
    if (stored.role !== role) {
      const what = stored.role === null ? 'what is served' : 'a set of a rebuild, not what is served';
      throw new TidemarkError('SINK_FOREIGN', `the database at ${partition.connection.address} holds ${what}`, {
        remedy: 'Look whether the database in `url` and `shadow_db` of the sink have been exchanged.',
      });
    }
    if (stored.logId === logId) return;
    throw new TidemarkError('SINK_FOREIGN', `the checkpoint at ${partition.connection.address} is of log ${stored.logId}, this is ${logId}`, {
      remedy: `Give the sink another \`prefix\` and other keys, or, if the other log is gone, run \`DEL ${partition.key}\` in Redis to have the sink rebuilt.`,
    });
  });
}

export function partitionOn(connection: Connection, { options }: Pick<OpenParts, 'options'>, tag: string): Partition {
  const { checkpoint, stale, versions } = ownKeys(options.prefix, tag);
  return new Partition({ connection, key: checkpoint, staleKey: stale, versionsKey: versions, tag, limits: limitsOf(options) });
}

/** With tags a batch is spread over 64 transactions: each may be that much smaller. */
function limitsOf({ transactionCommands, transactionBytes, cluster }: RedisOptions): TransactionLimits {
  const share = cluster === 'tagged' ? 8 : 1;
  return { commands: Math.ceil(transactionCommands / share), bytes: Math.ceil(transactionBytes / share) };
}

async function disposedOnFailure<T>(store: Store, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await store[Symbol.asyncDispose]();
    throw error;
  }
}
