import { asTidemarkError, TidemarkError } from '../../contracts/errors/error.ts';
import { MAX_OFFSET, type Offset } from '../../contracts/offset.ts';
import type { Clock } from '../../contracts/runtime.ts';
import { lesserProgress, type Progress, type StoredCheckpoint } from './checkpoint.ts';
import { NO_OWNER, type Discovery, type Topology } from './discovery.ts';
import { parseAddress, printAddress } from './endpoint.ts';
import { AT_START } from './fenced-store.ts';
import type { KeyScratch } from './key-scratch.ts';
import { scanKeys, scanSet } from './keyspace.ts';
import { Lane, type LaneHost, type Refused } from './lane.ts';
import { parseMark, printMark } from './mark.ts';
import type { Partition } from './partition.ts';
import { CommandBuffer } from './resp/command-buffer.ts';
import type { Failure } from './resp/connection.ts';
import { ReplyError, type Reply } from './resp/reply-reader.ts';
import { slotOf, tagOf } from './resp/slot.ts';
import { reachOf, type RowTarget, type Span } from './row-target.ts';
import { accepted, arrayOf, bytesOf, serverError } from './server-error.ts';
import type { Store } from './store.ts';

export interface PlainParts {
  readonly discovery: Discovery;
  readonly clock: Clock;
  readonly control: Partition;
  readonly topology: Topology;
  /** What the sink's own keys begin with. */
  readonly prefix: string;
  /** Another text each time. */
  readonly token: () => string;
  readonly signal: AbortSignal;
}

/** How often a command may be referred from node to node, or asked again, before it is given up. */
const MAX_ROUNDS = 16;
const STALE_PIECE = '500';

/** A command that goes to the slot of one key. */
interface Routed {
  readonly command: Buffer;
  readonly slot: number;
}

/**
 * A cluster whose keys keep the names that the templates give them, spread over all slots. A transaction cannot span
 * slots, so rows are written one by one (each is idempotent), and the checkpoint follows when all have succeeded. Each
 * primary also keeps a mark: the offset up to which it has been written. Replication carries it after the rows, so
 * when a replica takes over that lacks rows, its mark went back too, and the sink goes on from the least mark.
 */
export class PlainStore implements Store, LaneHost {
  readonly control: Partition;
  readonly tagLength = 0;
  readonly lost: Promise<unknown>;
  readonly #parts: PlainParts;
  readonly #lanes: Lane[] = [];
  readonly #addresses: string[] = [];
  readonly #ownerOf: Uint16Array;
  readonly #lost = Promise.withResolvers<unknown>();
  readonly #adds = new Map<string, KeyList>();
  readonly #removes = new Map<string, KeyList>();
  #messages: Routed[] = [];
  /** Slots that hold a mark: one of each primary at least. */
  #marks: number[] = [];
  #marked: Progress = AT_START;
  #shape = '';
  private constructor(parts: PlainParts) {
    this.#parts = parts;
    this.control = parts.control;
    this.#ownerOf = Uint16Array.from(parts.topology.ownerOf);
    this.lost = Promise.race([parts.control.connection.closed, this.#lost.promise]);
  }

  /** Connects to every primary. @throws TidemarkError */
  static async open(parts: PlainParts): Promise<PlainStore> {
    const store = new PlainStore(parts);
    try {
      for (const address of parts.topology.primaries) await store.#laneTo(printAddress(address));
      return store;
    } catch (error) {
      await store[Symbol.asyncDispose]();
      throw error;
    }
  }

  get versioned(): readonly Partition[] {
    return [this.control];
  }

  versionsFor(): Partition {
    return this.control;
  }

  /** No row is taken for new: a primary may be ahead of what the checkpoint knows, when that one went back. */
  get freshFrom(): Offset {
    return MAX_OFFSET;
  }

  get replaces(): boolean {
    return this.control.replaces;
  }

  /** A batch always has something to tell: what is applied is known for the store as a whole. */
  wants(tableId: number, version: number): boolean {
    return version >= this.control.versionOf(tableId).version;
  }

  /**
   * The least that the primaries have applied; new ones get a mark. Null when the rows cannot be gone on from: a mark is
   * gone, and rows beside it may be, too; or marks do not agree on the shape of the rows, because one went back to
   * before a walk that the others have seen. @throws TidemarkError
   */
  async readMarks(applied: Progress, { marks, shape }: StoredCheckpoint): Promise<Progress | null> {
    let least = applied;
    for (const slot of marks) {
      const { connection } = this.#laneOf(slot);
      const reply = accepted(await connection.call('GET', this.#markKey(slot)), connection.address);
      const mark = reply === null ? null : parseMark(bytesOf(reply, connection.address).toString('latin1'));
      if (mark === null || mark.shape !== shape) return null;
      least = lesserProgress(least, mark.progress);
    }
    this.#marks = [...marks];
    this.#shape = shape;
    await this.#markAll(least);
    return least;
  }

  startKey(key: KeyScratch): void {
    key.reset();
  }

  place(key: KeyScratch): RowTarget {
    return this.#laneOf(slotOf(key.bytes, 0, key.length));
  }

  targetOf(key: Buffer): RowTarget {
    return this.#laneOf(slotOf(key, 0, key.length));
  }

  seen(key: KeyScratch): void {
    this.control.seen(key);
  }

  add(set: string, key: KeyScratch): void {
    listOf(this.#adds, set).add(key);
  }

  remove(set: string, key: KeyScratch): void {
    listOf(this.#removes, set).add(key);
  }

  publish(key: KeyScratch, command: Buffer): void {
    this.#messages.push({ command, slot: slotOf(key.bytes, 0, key.length) });
  }

  /** Says in the checkpoint that data is coming, which also shows whether this hub still is the owner. */
  async beginBatch(span: Span): Promise<void> {
    this.control.reaches(reachOf(span));
    await this.control.commit();
    await this.control.settle();
  }

  async beforeRows(): Promise<void> {
    if (this.#adds.size > 0) await this.#execute(this.#setCommands('SADD', this.#adds));
  }

  async settle(): Promise<void> {
    await this.beforeRows();
    const refused = (await Promise.all(this.#lanes.map((lane) => lane.drain()))).flat();
    await this.#execute(refused.map((one) => this.#routed(one)), refused);
    await this.#execute(this.#setCommands('SREM', this.#removes));
    await this.#execute(this.#messages.splice(0));
    await this.control.settle();
  }

  async endBatch(progress: Progress): Promise<{ durable: Promise<void> }> {
    await this.settle();
    await this.#remark(progress);
    return { durable: this.control.confirm(progress) };
  }

  flush(): Promise<void> {
    return this.control.flush();
  }

  /** The whole walk is done again when slots have changed their primary meanwhile: a key on its way may have been missed. */
  async *scan(prefix: Buffer, signal: AbortSignal): AsyncIterable<readonly Buffer[]> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const owners = Uint16Array.from(this.#ownerOf);
      for (const index of new Set(owners)) {
        const lane = this.#lanes[index];
        if (lane !== undefined) yield* scanKeys(lane.connection, '', prefix, () => this.settle(), signal);
      }
      await this.#adopt(await this.#parts.discovery.topology(signal));
      if (Buffer.from(owners.buffer).equals(Buffer.from(this.#ownerOf.buffer))) return;
    }
    throw new TidemarkError('REDIS_UNAVAILABLE', 'slots of the cluster keep moving while its keys are listed');
  }

  async *members(set: string, signal: AbortSignal): AsyncIterable<readonly Buffer[]> {
    yield* scanSet(this.#laneOfName(set).connection, set, () => this.settle(), signal);
  }

  async read(keys: readonly Buffer[], command: readonly (string | null)[]): Promise<readonly Reply[]> {
    await this.settle();
    const sent = keys.map((key) => {
      const lane = this.#laneOf(slotOf(key, 0, key.length));
      lane.out.command(...command.map((word) => word ?? key));
      return lane;
    });
    for (const lane of new Set(sent)) lane.connection.send(lane.out.take());
    return Promise.all(sent.map(({ connection }) => connection.value()));
  }

  async dropSet(set: string): Promise<void> {
    await this.settle();
    await this.#execute([this.#command(set, 'UNLINK', set)]);
  }

  async beginRebuild(): Promise<void> {
    this.#shape = this.#parts.token();
    await this.control.restart({ rebuild: 'marking', shape: this.#shape });
  }

  async markStale(keys: readonly Buffer[]): Promise<void> {
    for (const key of keys) this.control.markStale(key);
    await this.control.settle();
  }

  async beginReplay(): Promise<void> {
    await this.control.findStale();
    await this.#markAll(AT_START);
    void this.control.confirm(AT_START).catch(() => undefined);
    await this.control.commit({ rebuild: 'replaying' });
    await this.control.settle();
  }

  async current(keys: readonly Buffer[]): Promise<readonly Buffer[]> {
    await this.settle();
    return this.control.current(keys);
  }

  async staleKeys(): Promise<readonly Buffer[]> {
    await this.settle();
    const { connection, staleKey } = this.control;
    const some = arrayOf(await connection.call('SRANDMEMBER', staleKey, STALE_PIECE), connection.address);
    return some.map((key) => bytesOf(key, connection.address));
  }

  /** The marks first: while they differ from the checkpoint, nobody goes on from here. Rows are settled. */
  async shapeChanges(): Promise<void> {
    this.#shape = this.#parts.token();
    await this.#markAll(this.#marked);
    await this.control.commit({ shape: this.#shape });
    await this.control.settle();
  }

  async endRebuild(): Promise<void> {
    await this.settle();
    await this.shapeChanges();
    this.control.out.command('HDEL', this.control.key, 'rebuild');
    this.control.forgetStale();
    await this.control.settle();
  }

  fail(error: unknown): void {
    const failure = asTidemarkError(error, 'SINK_UNREACHABLE');
    this.control.fail(failure);
    for (const { connection } of this.#lanes) connection.fail(failure);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const connections = [this.control.connection, ...this.#lanes.map(({ connection }) => connection)];
    await Promise.all(connections.map((connection) => connection[Symbol.asyncDispose]()));
  }

  /** Writes every mark, the ones of new primaries among them (or those alone), and notes the new ones in the checkpoint. */
  async #markAll(progress: Progress, onlyNew = false): Promise<void> {
    this.#marked = progress;
    const unmarked = new Set(this.#ownerOf);
    for (const slot of this.#marks) unmarked.delete(this.#ownerOf[slot] ?? NO_OWNER);
    const fresh = [...unmarked].map((owner) => this.#ownerOf.indexOf(owner));
    this.#marks.push(...fresh);
    await this.#execute((onlyNew ? fresh : this.#marks).map((slot) => {
      const key = this.#markKey(slot);
      return this.#command(key, 'SET', key, printMark({ progress, shape: this.#shape }));
    }));
    if (fresh.length > 0) {
      await this.control.commit({ marks: this.#marks.join(',') });
      await this.control.settle();
    }
  }

  /**
   * As #markAll, after rows: a mark that is gone meanwhile stays so. Its primary was emptied, and the next opening shall
   * see it. @throws TidemarkError `SINK_CHECKPOINT_MOVED`
   */
  async #remark(progress: Progress): Promise<void> {
    const value = printMark({ progress, shape: this.#shape });
    const sent = this.#marks.map((slot) => {
      const key = this.#markKey(slot);
      const { command } = this.#command(key, 'SET', key, value, 'XX');
      const { connection } = this.#laneOf(slot);
      connection.send({ bytes: command, commands: 1, starts: [], release: () => undefined });
      return { routed: { command, slot }, address: connection.address, reply: connection.value() };
    });
    const refused: Refused[] = [];
    const moved: Routed[] = [];
    const replies = await Promise.all(sent.map(({ reply }) => reply));
    for (const [index, reply] of replies.entries()) {
      const one = sent[index];
      if (one === undefined) continue;
      if (reply === null) throw new TidemarkError('SINK_CHECKPOINT_MOVED', `the mark at ${one.address} is gone: it was emptied`);
      if (!(reply instanceof ReplyError)) continue;
      refused.push({ command: one.routed.command, text: reply.text });
      moved.push(one.routed);
    }
    await this.#execute(moved, refused);
    await this.#markAll(progress, true);
  }

  #markKey(slot: number): string {
    return `{${tagOf(slot)}}${this.#parts.prefix}mark`;
  }

  #laneOf(slot: number): Lane {
    const lane = this.#lanes[this.#ownerOf[slot] ?? NO_OWNER];
    if (lane === undefined) throw new TidemarkError('REDIS_UNAVAILABLE', `no primary is known for slot ${slot}`);
    return lane;
  }

  #laneOfName(key: string): Lane {
    const bytes = Buffer.from(key, 'utf8');
    return this.#laneOf(slotOf(bytes, 0, bytes.length));
  }

  /** The lane to a node, connected when it is new; its index. */
  async #laneTo(address: string): Promise<number> {
    const known = this.#addresses.indexOf(address);
    if (known >= 0) return known;
    const connection = await this.#parts.discovery.node(parseAddress(address, 0), this.#parts.signal);
    void connection.closed.then((reason) => this.#lost.resolve(reason));
    this.#addresses.push(address);
    return this.#lanes.push(new Lane(connection, this)) - 1;
  }

  async #adopt(topology: Topology): Promise<void> {
    const indexes: number[] = [];
    for (const address of topology.primaries) indexes.push(await this.#laneTo(printAddress(address)));
    topology.ownerOf.forEach((owner, slot) => (this.#ownerOf[slot] = indexes[owner] ?? NO_OWNER));
  }

  #setCommands(name: string, lists: Map<string, KeyList>): Routed[] {
    const commands = [...lists].map(([set, list]) => this.#command(set, name, set, ...list.keys));
    lists.clear();
    return commands;
  }

  #command(key: string, ...words: readonly (string | Buffer)[]): Routed {
    const out = new CommandBuffer(this.control.connection.pool);
    out.command(...words);
    const { bytes, release } = out.take();
    const command = Buffer.from(bytes);
    release();
    this.control.connection.pool.give(out.bytes);
    const name = Buffer.from(key, 'utf8');
    return { command, slot: slotOf(name, 0, name.length) };
  }

  /** A refused command with its slot, which the refusal names. @throws TidemarkError when it was refused for good */
  #routed({ command, text }: Refused): Routed {
    const slot = /^(?:MOVED|ASK) (\d+) /.exec(text)?.[1];
    if (slot !== undefined) return { command, slot: Number(slot) };
    throw serverError(text, 'the cluster');
  }

  /** Runs single commands to their end, wherever their slots are by now. @param refusals what was said of them before */
  async #execute(commands: readonly Routed[], refusals: readonly Refused[] = []): Promise<void> {
    let left = commands.map((routed, index) => ({ routed, refusal: refusals[index]?.text ?? '' }));
    for (let round = 0; left.length > 0; round++) {
      if (round === MAX_ROUNDS) throw serverError(left[0]?.refusal ?? '', 'the cluster');
      if (round > 2) await this.#parts.clock.sleep(50 * round, this.#parts.signal);
      const sent: { routed: Routed; failures: Promise<readonly Failure[]> }[] = [];
      for (const { routed, refusal } of left) {
        const lane = await this.#laneFor(routed.slot, refusal);
        const asks = refusal.startsWith('ASK ');
        const bytes = asks ? Buffer.concat([ASKING, routed.command]) : routed.command;
        lane.connection.send({ bytes, commands: 1, starts: [], release: () => undefined });
        sent.push({ routed, failures: lane.connection.run(asks ? 2 : 1) });
      }
      left = [];
      for (const { routed, failures } of sent) {
        const refusal = (await failures).at(-1)?.text;
        if (refusal === undefined) continue;
        if (!/^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN) ?/.test(refusal)) throw serverError(refusal, 'the cluster');
        left.push({ routed, refusal });
      }
    }
  }

  /** The node that the last refusal names, or the one that has the slot. */
  async #laneFor(slot: number, refusal: string): Promise<Lane> {
    const [, kind, target] = /^(MOVED|ASK) \d+ (\S+)/.exec(refusal) ?? [];
    const lane = this.#laneOf(slot);
    if (target === undefined) return lane;
    const address = target.startsWith(':') ? lane.connection.address.replace(/:\d+$/, target) : target;
    const index = await this.#laneTo(address);
    if (kind === 'MOVED') this.#ownerOf[slot] = index;
    return this.#lanes[index] ?? lane;
  }
}

const ASKING = Buffer.from('*1\r\n$6\r\nASKING\r\n', 'latin1');

/** Keys for one set, copied. */
class KeyList {
  readonly keys: Buffer[] = [];

  add(key: KeyScratch): void {
    this.keys.push(Buffer.from(key.taken()));
  }
}

function listOf(lists: Map<string, KeyList>, set: string): KeyList {
  let list = lists.get(set);
  if (list === undefined) {
    list = new KeyList();
    lists.set(set, list);
  }
  return list;
}
