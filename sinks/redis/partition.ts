import { asTidemarkError, TidemarkError } from '../../contracts/errors/error.ts';
import { BEFORE_ALL, type Offset } from '../../contracts/offset.ts';
import {
  COMPARED, parseCheckpoint, progressFields, verdictOn, type CheckpointFields, type Compared, type Progress, type SetRole, type StoredCheckpoint,
} from './checkpoint.ts';
import type { KeyScratch } from './key-scratch.ts';
import { CommandBuffer, encodeArgument, type CommandChunk } from './resp/command-buffer.ts';
import type { Connection, ExecResult, Failure } from './resp/connection.ts';
import type { Reply } from './resp/reply-reader.ts';
import type { RowTarget, Span } from './row-target.ts';
import { UNKNOWN_VERSION, type RowVersion } from './row-version.ts';
import { accepted, arrayOf, bytesOf, serverError } from './server-error.ts';

export interface TransactionLimits {
  readonly commands: number;
  readonly bytes: number;
}

export interface PartitionOptions {
  readonly connection: Connection;
  /** Redis key of the checkpoint. */
  readonly key: string;
  /** What the partition puts in front of names of sets; '' where it has no hash tag. */
  readonly tag: string;
  /** Set of the keys that a rebuild has not written yet. */
  readonly staleKey: string;
  /** Hash: the schema version that each table's rows have here. */
  readonly versionsKey: string;
  readonly limits: TransactionLimits;
}

/** A Redis transaction that is being sent. */
interface OpenTransaction {
  readonly replies: Promise<readonly Failure[]>[];
  commands: number;
  bytes: number;
}

/** Who takes a set over. */
export interface Claim {
  readonly logId: string;
  /** Unique for each taking over. */
  readonly owner: string;
  /** What the set is from then on; null: the one that is served. */
  readonly role: SetRole | null;
}

interface Confirmation {
  readonly progress: Progress;
  readonly done: PromiseWithResolvers<void>;
}

const MULTI: CommandChunk = { bytes: Buffer.from('*1\r\n$5\r\nMULTI\r\n', 'latin1'), commands: 1, starts: [], release: () => undefined };
const SADD = encodeArgument('SADD');
const SREM = encodeArgument('SREM');
const PUBLISH = encodeArgument('PUBLISH');

/**
 * The unit of atomic, fenced writing: a checkpoint and the keys that change together with it, over one connection.
 * (Without a cluster there is one partition; a tagged cluster has one for each hash tag.)
 *
 * On the wire, all of it pipelined:
 *
 *     WATCH checkpoint, HMGET checkpoint    then  MULTI, data ...    and, once the HMGET was seen to be what this hub
 *     left there and the transaction before had no failure:    HSET checkpoint, EXEC, WATCH, HMGET
 *
 * So the data of a transaction travels while the one before it runs, and nothing is executed on an unseen checkpoint: a
 * change after the HMGET makes EXEC fail, a change before it shows. Calls are made one at a time. After a failure the
 * connection is closed and everything rejects: open the sink again.
 */
export class Partition implements RowTarget {
  readonly out: CommandBuffer;
  readonly connection: Connection;
  readonly key: string;
  readonly staleKey: string;
  readonly #versionsKey: string;
  readonly #versions = new Map<number, RowVersion>();
  readonly #tag: string;
  readonly #limits: TransactionLimits;
  readonly #adds = new Map<string, CommandBuffer>();
  readonly #removes = new Map<string, CommandBuffer>();
  /** Keys in both: each counts as a command. */
  #memberCount = 0;
  #compared: Compared = { owner: '', fence: 0, offset: null, reach: BEFORE_ALL };
  #freshFrom: Offset = BEFORE_ALL;
  #wantedReach: Offset = BEFORE_ALL;
  #stale = false;
  #open: OpenTransaction | null = null;
  #confirmations: Confirmation[] = [];
  /** Everything sent with EXEC has succeeded, and the checkpoint is as expected. */
  #settled: Promise<void> = Promise.resolve();

  constructor(options: PartitionOptions) {
    this.connection = options.connection;
    this.key = options.key;
    this.staleKey = options.staleKey;
    this.#versionsKey = options.versionsKey;
    this.#tag = options.tag;
    this.#limits = options.limits;
    this.out = new CommandBuffer(options.connection.pool);
  }

  get offset(): Offset {
    return this.#compared.offset ?? BEFORE_ALL;
  }

  get freshFrom(): Offset {
    return this.#freshFrom;
  }

  get replaces(): boolean {
    return this.#stale;
  }

  isAhead({ after, to }: Span): boolean {
    return this.offset > after && this.offset >= to;
  }

  wants(tableId: number, version: number, span: Span): boolean {
    return !this.isAhead(span) && version >= this.versionOf(tableId).version;
  }

  /** The schema version of the table's rows here; 0: not known. */
  versionOf(tableId: number): RowVersion {
    return this.#versions.get(tableId) ?? UNKNOWN_VERSION;
  }

  /** Rows of the table are of this version from now on, and rows of an older one are not wanted any more; null: forget it. */
  setVersion(tableId: number, version: RowVersion | null): void {
    if (version === null) {
      this.#versions.delete(tableId);
      this.out.command('HDEL', this.#versionsKey, String(tableId));
    } else {
      this.#versions.set(tableId, version);
      this.out.command('HSET', this.#versionsKey, String(tableId), `${version.version}${version.half ? 'h' : ''}`);
    }
  }

  /** @throws TidemarkError */
  async loadVersions(): Promise<void> {
    const { connection } = this;
    const flat = arrayOf(await connection.call('HGETALL', this.#versionsKey), connection.address);
    this.#versions.clear();
    for (let i = 0; i + 1 < flat.length; i += 2) {
      const [tableId, version] = [flat[i], flat[i + 1]].map((part) => bytesOf(part ?? null, connection.address).toString('latin1'));
      this.#versions.set(Number(tableId), { version: Number.parseInt(version ?? '0', 10), half: version?.endsWith('h') === true });
    }
  }

  /** The checkpoint as it stands. @throws TidemarkError */
  async read(): Promise<StoredCheckpoint | null> {
    return parseCheckpoint(await this.connection.call('HGETALL', this.key), this.connection.address);
  }

  /**
   * Makes this hub the owner: fence + 1 and a new owner mark. Answers the checkpoint as it was, with the new fence.
   * @param refuse throws when the checkpoint is one that this hub must not touch
   * @throws TidemarkError `SINK_UNREACHABLE`, `SINK_CHECKPOINT_MOVED` when others take it over all the time
   */
  async takeOver({ logId, owner, role }: Claim, refuse: (stored: StoredCheckpoint) => void): Promise<StoredCheckpoint> {
    const { connection, key } = this;
    for (let attempt = 0; attempt < 10; attempt++) {
      accepted(await connection.call('WATCH', key), connection.address);
      const stored = await this.read();
      if (stored !== null) refuse(stored);
      const fence = (stored?.fence ?? 0) + 1;
      const reach = stored?.reach ?? BEFORE_ALL;
      connection.send(MULTI);
      const queued = connection.run(1);
      this.out.command('HSET', key, 'log', logId, 'owner', owner, 'fence', String(fence), 'reach', String(reach), ...(role === null ? [] : ['role', role]));
      this.out.command('EXEC');
      connection.send(this.out.take());
      const [refusals, set, result] = await Promise.all([queued, connection.run(1), connection.exec()]);
      this.#checkExecuted([...refusals, ...set], result);
      if (result.kind === 'conflict') continue;
      this.#compared = { owner, fence, offset: stored?.applied?.offset ?? null, reach };
      this.#wantedReach = reach;
      this.#freshFrom = reach;
      await this.#watch();
      const before = { applied: stored?.applied ?? null, rebuild: stored?.rebuild ?? null, marks: stored?.marks ?? [] };
      return { ...before, logId, owner, fence, reach, role, swapped: stored?.swapped ?? '', shape: stored?.shape ?? '' };
    }
    throw new TidemarkError('SINK_CHECKPOINT_MOVED', `the checkpoint at ${connection.address} keeps changing hands`);
  }

  /** A replay begins or goes on: rows that are written are taken off the stale set, if there is one. @throws TidemarkError */
  async findStale(): Promise<void> {
    this.#stale = accepted(await this.connection.call('EXISTS', this.staleKey), this.connection.address) !== 0;
  }

  /** The rebuild is over. */
  forgetStale(): void {
    this.#stale = false;
  }

  /** Those of the keys that are not stale. Nothing may be on its way. @throws TidemarkError */
  async current(keys: readonly Buffer[]): Promise<readonly Buffer[]> {
    if (!this.#stale || keys.length === 0) return keys;
    for (const key of keys) this.out.command('SISMEMBER', this.staleKey, key);
    this.connection.send(this.out.take());
    const stale = await Promise.all(keys.map(() => this.connection.value()));
    return keys.filter((_, i) => accepted(stale[i] ?? null, this.connection.address) === 0);
  }

  /** A key that is there before the replay. */
  markStale(key: Buffer): void {
    this.#members(this.#adds, this.staleKey).argument(key, 0, key.length);
  }

  /** A set's name with the partition's tag. */
  nameOf(set: string): string {
    return this.#tag + set;
  }

  /** Data up to `offset` may be applied in part from now on. */
  reaches(offset: Offset): void {
    if (offset > this.#wantedReach) this.#wantedReach = offset;
  }

  /** The row under `key` was written: it is not stale. */
  seen(key: KeyScratch): void {
    if (this.#stale) this.#members(this.#removes, this.staleKey).argument(key.bytes, 0, key.length);
  }

  add(set: string, key: KeyScratch): void {
    this.#members(this.#adds, this.nameOf(set)).argument(key.bytes, 0, key.length);
  }

  remove(set: string, key: KeyScratch): void {
    this.#members(this.#removes, this.nameOf(set)).argument(key.bytes, 0, key.length);
  }

  publish(channel: Buffer, key: KeyScratch): void {
    this.out.begin(3);
    this.out.raw(PUBLISH);
    this.out.raw(channel);
    this.out.argument(key.bytes, 0, key.length);
  }

  /** Sends what is in `out`, and ends the transaction where it is large enough. Waits for room: back-pressure. */
  async push(): Promise<void> {
    this.#send();
    await this.connection.writable();
    const open = this.#open;
    if (open === null) return;
    if (open.commands + this.#memberCount >= this.#limits.commands || open.bytes >= this.#limits.bytes) await this.commit();
  }

  /** True when something was written that is not in a transaction that has ended. */
  get hasOpenData(): boolean {
    return this.out.commands > 0 || this.#open !== null || this.#memberCount > 0;
  }

  /**
   * Ends the transaction with these fields of the checkpoint, and with what is to be confirmed. Resolves when EXEC has
   * been sent; `settle` waits for its success. @throws TidemarkError when the one before failed
   */
  async commit(fields: CheckpointFields = {}): Promise<void> {
    const moves = this.#wantedReach > this.#compared.reach;
    if (!this.hasOpenData && this.#confirmations.length === 0 && Object.keys(fields).length === 0 && !moves) return;
    this.#writeMembers();
    this.#send();
    const open = this.#begin();
    await this.#settled;
    const confirmed = this.#confirmations.splice(0);
    const last = confirmed.at(-1);
    const reach = this.#wantedReach;
    const all = { reach: String(reach), ...(last === undefined ? {} : progressFields(last.progress)), ...fields };
    this.out.command('HSET', this.key, ...Object.entries(all).flat());
    this.out.command('EXEC');
    this.out.command('WATCH', this.key);
    this.out.command('HMGET', this.key, ...COMPARED);
    this.connection.send(this.out.take());
    open.replies.push(this.connection.run(1));
    this.#open = null;
    const expected = { ...this.#compared, reach, offset: last?.progress.offset ?? this.#compared.offset };
    this.#compared = expected;
    const { connection } = this;
    this.#settled = this.#verify(open.replies, connection.exec(), connection.run(1), connection.value(), expected).then(
      () => confirmed.forEach(({ done }) => done.resolve()),
      (error: unknown) => {
        const failure = asTidemarkError(error, 'SINK_UNREACHABLE');
        connection.fail(failure);
        for (const { done } of confirmed) done.reject(failure);
        throw failure;
      },
    );
    this.#settled.catch(() => undefined);
  }

  /** Ends the transaction and waits until it has succeeded: what was written so far can be read. @throws TidemarkError */
  async settle(): Promise<void> {
    if (this.hasOpenData) await this.commit();
    await this.#settled;
  }

  /** The data up to `progress` has been sent: the next transaction says so in the checkpoint. Resolves when it has. */
  confirm(progress: Progress): Promise<void> {
    const done = Promise.withResolvers<void>();
    done.promise.catch(() => undefined);
    this.#confirmations.push({ progress, done });
    return done.promise;
  }

  /** Writes what is to be confirmed, now that nothing else is on its way. @throws TidemarkError */
  async flush(): Promise<void> {
    await this.#settled;
    await this.commit();
    await this.#settled;
  }

  /**
   * Forgets what the checkpoint said, and what goes with it: a rebuild begins. Keys that an earlier one has listed and not
   * come to stay listed: nothing else tells of those of tables that were given up before it.
   * @throws TidemarkError
   */
  async restart(fields: CheckpointFields): Promise<void> {
    await this.settle();
    this.out.command('HDEL', this.key, 'offset', 'epoch', 'position', 'cursor');
    this.out.command('UNLINK', this.#versionsKey);
    this.#versions.clear();
    this.#compared = { ...this.#compared, offset: null };
    this.#wantedReach = BEFORE_ALL;
    await this.commit(fields);
    await this.settle();
  }

  /** Removes the checkpoint with these keys, as the last thing that is done here. @throws TidemarkError */
  async erase(...keys: readonly string[]): Promise<void> {
    await this.settle();
    this.#begin();
    this.out.command('UNLINK', this.key, ...keys);
    this.out.command('EXEC');
    this.connection.send(this.out.take());
    const [multi, unlink, result] = await Promise.all([this.#open?.replies[0] ?? [], this.connection.run(1), this.connection.exec()]);
    this.#open = null;
    this.#checkExecuted([...multi, ...unlink], result);
    if (result.kind === 'conflict') throw new TidemarkError('SINK_CHECKPOINT_MOVED', `the checkpoint at ${this.connection.address} was touched`);
  }

  /** Rejects everything that waits here. */
  fail(error: TidemarkError): void {
    this.connection.fail(error);
    for (const { done } of this.#confirmations.splice(0)) done.reject(error);
  }

  #begin(): OpenTransaction {
    if (this.#open === null) {
      this.connection.send(MULTI);
      this.#open = { replies: [this.connection.run(1)], commands: 0, bytes: 0 };
    }
    return this.#open;
  }

  #send(): void {
    if (this.out.commands === 0) return;
    const open = this.#begin();
    const chunk = this.out.take();
    this.connection.send(chunk);
    open.replies.push(this.connection.run(chunk.commands));
    open.commands += chunk.commands;
    open.bytes += chunk.bytes.length;
  }

  #members(lists: Map<string, CommandBuffer>, set: string): CommandBuffer {
    let list = lists.get(set);
    if (list === undefined) {
      list = new CommandBuffer(this.connection.pool);
      lists.set(set, list);
    }
    list.commands++;
    this.#memberCount++;
    return list;
  }

  #writeMembers(): void {
    for (const [name, lists] of [[SADD, this.#adds], [SREM, this.#removes]] as const) {
      for (const [set, list] of lists) {
        this.out.begin(2 + list.commands);
        this.out.raw(name);
        const key = Buffer.from(set, 'utf8');
        this.out.argument(key, 0, key.length);
        const { bytes, release } = list.take();
        this.out.raw(bytes);
        release();
        this.connection.pool.give(list.bytes);
      }
      lists.clear();
    }
    this.#memberCount = 0;
  }

  async #watch(): Promise<void> {
    const { connection, key } = this;
    this.out.command('WATCH', key);
    this.out.command('HMGET', key, ...COMPARED);
    connection.send(this.out.take());
    const [failures, reply] = await Promise.all([connection.run(1), connection.value()]);
    this.#checkWatched(failures, reply, this.#compared);
  }

  async #verify(
    replies: readonly Promise<readonly Failure[]>[], exec: Promise<ExecResult>, watch: Promise<readonly Failure[]>, read: Promise<Reply>, expected: Compared,
  ): Promise<void> {
    const refusals = (await Promise.all(replies)).flat();
    const [result, failures, reply] = await Promise.all([exec, watch, read]);
    this.#checkExecuted(refusals, result);
    this.#checkWatched(failures, reply, expected);
    if (result.kind === 'conflict') throw new TidemarkError('SINK_CHECKPOINT_MOVED', `the checkpoint at ${this.connection.address} was touched`);
  }

  /** @throws TidemarkError when a command was refused, or failed although the transaction was executed. */
  #checkExecuted(refusals: readonly Failure[], result: ExecResult): void {
    const address = this.connection.address;
    const [refusal] = refusals;
    if (refusal !== undefined) throw serverError(refusal.text, address);
    if (result.kind === 'refused') throw serverError(result.text, address);
    const [failure] = result.kind === 'done' ? result.failures : [];
    if (failure !== undefined) throw serverError(failure.text, address);
  }

  #checkWatched(failures: readonly Failure[], reply: Reply, expected: Compared): void {
    const address = this.connection.address;
    const [failure] = failures;
    if (failure !== undefined) throw serverError(failure.text, address);
    const verdict = verdictOn(reply, expected, address);
    if (verdict !== null) throw verdict;
  }
}
