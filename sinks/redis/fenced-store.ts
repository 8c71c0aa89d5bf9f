import { asTidemarkError } from '../../contracts/errors/error.ts';
import { BEFORE_ALL } from '../../contracts/offset.ts';
import type { Progress } from './checkpoint.ts';
import type { KeyScratch } from './key-scratch.ts';
import { scanKeys, scanSet } from './keyspace.ts';
import type { Partition } from './partition.ts';
import type { Connection } from './resp/connection.ts';
import type { Reply } from './resp/reply-reader.ts';
import { reachOf, type RowTarget, type Span } from './row-target.ts';
import { arrayOf, bytesOf } from './server-error.ts';
import { crc16 } from './resp/slot.ts';
import type { Store } from './store.ts';

/** Hash tags of a tagged cluster: `{00}` to `{63}`. */
export const PARTITIONS = 64;
const TAG_LENGTH = 4;
const STALE_PIECE = 500;

/** Where a rebuild begins: before the first record, in no epoch. */
export const AT_START: Progress = { epoch: '', offset: BEFORE_ALL, position: new Uint8Array(0), cursor: null };

export function partitionTag(partition: number): string {
  return `{${String(partition).padStart(2, '0')}}`;
}

/** The partition of a key without its tag: CRC-16/XMODEM modulo 64. */
export function partitionOf(key: Uint8Array, start: number, end: number): number {
  return crc16(key, start, end) % PARTITIONS;
}

/**
 * A store whose every key changes in one transaction with a checkpoint: a single server (one partition, which is the
 * control partition too), or a cluster with tags (64, and the control partition). Fencing is exact.
 */
export class FencedStore implements Store {
  readonly control: Partition;
  readonly tagLength: number;
  readonly lost: Promise<unknown>;
  readonly #partitions: readonly Partition[];
  /** With the control partition, each once. */
  readonly #all: readonly Partition[];
  /** One connection to each server. */
  readonly #servers: readonly Connection[];

  /** @param partitions the control partition alone, or one for each tag */
  constructor(control: Partition, partitions: readonly Partition[]) {
    this.control = control;
    this.#partitions = partitions;
    this.#all = partitions.includes(control) ? partitions : [control, ...partitions];
    this.tagLength = this.#all.length > 1 ? TAG_LENGTH : 0;
    const byAddress = new Map(this.#all.map(({ connection }) => [connection.address, connection]));
    this.#servers = [...byAddress.values()];
    this.lost = Promise.race(this.#all.map(({ connection }) => connection.closed));
  }

  get versioned(): readonly Partition[] {
    return this.#partitions;
  }

  startKey(key: KeyScratch): void {
    key.reset();
    key.length = this.tagLength;
  }

  place(key: KeyScratch): RowTarget {
    if (this.tagLength === 0) return this.control;
    const partition = partitionOf(key.bytes, TAG_LENGTH, key.length);
    key.bytes[0] = 0x7b;
    key.bytes[1] = 0x30 + Math.floor(partition / 10);
    key.bytes[2] = 0x30 + (partition % 10);
    key.bytes[3] = 0x7d;
    return this.#partitions[partition] as Partition;
  }

  targetOf(key: Buffer): Partition {
    if (this.tagLength === 0) return this.control;
    return this.#partitions[partitionOf(key, Math.min(TAG_LENGTH, key.length), key.length)] as Partition;
  }

  beginBatch(span: Span): Promise<void> {
    for (const partition of this.#all) partition.reaches(reachOf(span));
    return Promise.resolve();
  }

  async settle(): Promise<void> {
    await Promise.all(this.#all.map((partition) => partition.settle()));
  }

  async endBatch(progress: Progress): Promise<{ durable: Promise<void> }> {
    await Promise.all(this.#all.map((partition) => (partition.hasOpenData ? partition.commit() : Promise.resolve())));
    const confirmed = this.#all.filter(({ offset }) => offset <= progress.offset).map((partition) => partition.confirm(progress));
    const durable = Promise.all(confirmed).then(() => undefined);
    durable.catch(() => undefined);
    return { durable };
  }

  async flush(): Promise<void> {
    await Promise.all(this.#all.map((partition) => partition.flush()));
  }

  async *scan(prefix: Buffer, signal: AbortSignal): AsyncIterable<readonly Buffer[]> {
    const tag = this.tagLength === 0 ? '' : '{[0-6][0-9]}';
    for (const server of this.#servers) yield* scanKeys(server, tag, prefix, () => this.settle(), signal);
  }

  async *members(set: string, signal: AbortSignal): AsyncIterable<readonly Buffer[]> {
    for (const partition of this.#partitions) yield* scanSet(partition.connection, partition.nameOf(set), () => this.settle(), signal);
  }

  versionsFor(target: RowTarget): Partition {
    return this.#partitions.find((partition) => partition === target) ?? this.control;
  }

  async read(keys: readonly Buffer[], command: readonly (string | null)[]): Promise<readonly Reply[]> {
    await this.settle();
    const sent = keys.map((key) => {
      const partition = this.targetOf(key);
      partition.out.command(...command.map((word) => word ?? key));
      return partition;
    });
    for (const partition of new Set(sent)) partition.connection.send(partition.out.take());
    return Promise.all(sent.map(({ connection }) => connection.value()));
  }

  /** Nothing to note: a partition goes back as a whole, and its rows' versions with it. */
  async shapeChanges(): Promise<void> {
    await this.settle();
  }

  async dropSet(set: string): Promise<void> {
    await this.settle();
    for (const partition of this.#partitions) partition.out.command('UNLINK', partition.nameOf(set));
    await this.settle();
  }

  async beginRebuild(): Promise<void> {
    await this.control.restart({ rebuild: 'marking' });
    await Promise.all(this.#partitions.map((partition) => (partition === this.control ? partition.settle() : partition.restart({ rebuild: 'replaying' }))));
  }

  async markStale(keys: readonly Buffer[]): Promise<void> {
    for (const key of keys) this.targetOf(key).markStale(key);
    await this.settle();
  }

  async beginReplay(): Promise<void> {
    await Promise.all(this.#partitions.map((partition) => partition.findStale()));
    await this.#confirmAll(AT_START, { rebuild: 'replaying' });
  }

  async current(keys: readonly Buffer[]): Promise<readonly Buffer[]> {
    await this.settle();
    const byPartition = Map.groupBy(keys, (key) => this.targetOf(key));
    const current = await Promise.all([...byPartition].map(([partition, own]) => partition.current(own)));
    return current.flat();
  }

  async staleKeys(): Promise<readonly Buffer[]> {
    await this.settle();
    for (const { connection, staleKey } of this.#partitions) {
      const some = arrayOf(await connection.call('SRANDMEMBER', staleKey, String(STALE_PIECE)), connection.address);
      if (some.length > 0) return some.map((key) => bytesOf(key, connection.address));
    }
    return [];
  }

  async endRebuild(): Promise<void> {
    await this.settle();
    for (const partition of this.#all) {
      partition.out.command('HDEL', partition.key, 'rebuild');
      partition.forgetStale();
    }
    await this.settle();
  }

  fail(error: unknown): void {
    const failure = asTidemarkError(error, 'SINK_UNREACHABLE');
    for (const partition of this.#all) partition.fail(failure);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all.map(({ connection }) => connection[Symbol.asyncDispose]()));
  }

  /** The control partition last: while it says `marking`, nobody trusts the others. */
  async #confirmAll(progress: Progress, fields: Readonly<Record<string, string>>): Promise<void> {
    const others = this.#all.filter((partition) => partition !== this.control);
    for (const partition of others) void partition.confirm(progress).catch(() => undefined);
    await Promise.all(others.map((partition) => partition.flush()));
    void this.control.confirm(progress).catch(() => undefined);
    await this.control.commit(fields);
    await this.control.settle();
  }
}
