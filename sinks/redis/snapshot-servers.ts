import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock } from '../../contracts/runtime.ts';
import { NO_OWNER, type Discovery, type Topology } from './discovery.ts';
import { parseAddress, printAddress } from './endpoint.ts';
import { partitionOf, PARTITIONS, partitionTag } from './fenced-store.ts';
import { scanKeys, scanSet } from './keyspace.ts';
import type { RedisOptions } from './options.ts';
import { CommandBuffer } from './resp/command-buffer.ts';
import type { Connection } from './resp/connection.ts';
import { ReplyError, type Reply } from './resp/reply-reader.ts';
import { slotOf } from './resp/slot.ts';
import { serverError } from './server-error.ts';

/** How often a command may be referred from node to node, or asked again, before it is given up. */
const MAX_ROUNDS = 16;
/** How long is waited where a node says that it does not know better, milliseconds. */
const ROUND_WAIT_MS = 50;
/** The place of an answer that nobody looks at. */
const NOWHERE = -1;
const NOTHING_TO_SETTLE = (): Promise<void> => Promise.resolve();

export interface ServersParts {
  readonly options: RedisOptions;
  readonly discovery: Discovery;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** A question that a node has not answered yet. */
interface Question {
  readonly key: Buffer;
  readonly place: number;
  /** Where another node has referred it to; null: to the primary of its slot. */
  readonly to: string | null;
  readonly asking: boolean;
}

/**
 * The servers of a sink, to be read from only: one primary, or all those of a cluster. Nothing is taken over and nothing
 * is written. Owns its connections.
 */
export class Servers implements AsyncDisposable {
  /** Bytes in front of every row's key that do not come from its template. */
  readonly tagLength: number;
  readonly #parts: ServersParts;
  readonly #connections = new Map<string, Promise<Connection>>();
  /** Null: there is one server. */
  #topology: Topology | null = null;
  #only: Connection | null = null;

  private constructor(parts: ServersParts) {
    this.#parts = parts;
    this.tagLength = parts.options.cluster === 'tagged' ? partitionTag(0).length : 0;
  }

  /** @param parts.signal ends the connections when it aborts @throws TidemarkError */
  static async open(parts: ServersParts): Promise<Servers> {
    const servers = new Servers(parts);
    if (parts.options.cluster === null) servers.#only = servers.#owned(await parts.discovery.primary(parts.signal));
    else servers.#topology = await parts.discovery.topology(parts.signal);
    return servers;
  }

  /** A key of the sink's own for each tag, that of no tag first. */
  ownKeys(keyOf: (tag: string) => string): string[] {
    const tags = this.tagLength === 0 ? [] : Array.from({ length: PARTITIONS }, (_, partition) => partitionTag(partition));
    return ['', ...tags].map(keyOf);
  }

  /** A row's key as it stands at the servers. */
  placed(key: Buffer): Buffer {
    if (this.tagLength === 0) return key;
    return Buffer.concat([Buffer.from(partitionTag(partitionOf(key, 0, key.length)), 'latin1'), key]);
  }

  /** Every key that begins with `prefix` behind its tag, in pieces. Some may come twice. */
  async *scan(prefix: Buffer, signal: AbortSignal): AsyncGenerator<readonly Buffer[], void, void> {
    const tag = this.tagLength === 0 ? '' : '{[0-6][0-9]}';
    if (this.#only !== null) {
      yield* scanKeys(this.#only, tag, prefix, NOTHING_TO_SETTLE, signal);
      return;
    }
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const before = await this.#cluster();
      for (const address of before.primaries) {
        yield* scanKeys(await this.#connection(printAddress(address)), tag, prefix, NOTHING_TO_SETTLE, signal);
      }
      // A key on its way from node to node may have been missed.
      this.#topology = await this.#parts.discovery.topology(signal);
      if (sameOwners(before, this.#topology)) return;
    }
    throw new TidemarkError('REDIS_UNAVAILABLE', 'slots of the cluster keep moving while its keys are listed');
  }

  /** The members of the sets in which the table's keys are noted. Some may come twice. */
  async *members(set: string, signal: AbortSignal): AsyncGenerator<readonly Buffer[], void, void> {
    const names = this.ownKeys((tag) => tag + set);
    for (const name of this.tagLength === 0 ? names : names.slice(1)) {
      yield* scanSet(await this.#ownerOf(Buffer.from(name, 'utf8')), name, NOTHING_TO_SETTLE, signal);
    }
  }

  /**
   * One reading command per key, pipelined: `command` with the key in place of null. Answers in the order of the keys;
   * an error of the server about one key is a value.
   */
  async read(keys: readonly Buffer[], command: readonly (string | null)[]): Promise<Reply[]> {
    const replies: Reply[] = Array.from({ length: keys.length }, () => null);
    let left: Question[] = keys.map((key, place) => ({ key, place, to: null, asking: false }));
    for (let round = 0; left.length > 0; round++) {
      const answers = await this.#ask(left, command);
      const again: Question[] = [];
      for (const [index, question] of left.entries()) {
        const answer = answers[index] ?? null;
        const next = this.#only === null && answer instanceof ReplyError ? referred(question, answer.text) : null;
        if (next !== null) again.push(next);
        if (next !== null && round === MAX_ROUNDS) throw serverError(answer instanceof ReplyError ? answer.text : '', 'the cluster');
        if (next === null) replies[question.place] = answer;
      }
      left = again;
      if (left.length === 0) break;
      if (left.some(({ to }) => to === null)) await this.#parts.clock.sleep(ROUND_WAIT_MS, this.#parts.signal);
      this.#topology = await this.#parts.discovery.topology(this.#parts.signal);
    }
    return replies;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const made = await Promise.allSettled(this.#connections.values());
    const open = made.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    if (this.#only !== null) open.push(this.#only);
    await Promise.all(open.map((connection) => connection[Symbol.asyncDispose]()));
  }

  async #ask(questions: readonly Question[], command: readonly (string | null)[]): Promise<Reply[]> {
    const connections: Connection[] = [];
    for (const { key, to } of questions) connections.push(to === null ? await this.#ownerOf(key) : await this.#connection(to));
    const sent = new Map<Connection, { readonly out: CommandBuffer; readonly places: number[] }>();
    for (const [place, { key, asking }] of questions.entries()) {
      const connection = connections[place] as Connection;
      const { out, places } = sent.get(connection) ?? { out: new CommandBuffer(connection.pool), places: [] };
      sent.set(connection, { out, places });
      if (asking) out.command('ASKING');
      if (asking) places.push(NOWHERE);
      out.command(...command.map((word) => word ?? key));
      places.push(place);
    }
    const replies: Reply[] = Array.from({ length: questions.length }, () => null);
    await Promise.all([...sent].map(async ([connection, { out, places }]) => {
      connection.send(out.take());
      connection.pool.give(out.bytes);
      const values = await connection.values(places.length);
      for (const [index, place] of places.entries()) if (place !== NOWHERE) replies[place] = values[index] ?? null;
    }));
    return replies;
  }

  async #ownerOf(key: Buffer): Promise<Connection> {
    if (this.#only !== null) return this.#only;
    const { primaries, ownerOf } = await this.#cluster();
    const address = primaries[ownerOf[slotOf(key, 0, key.length)] ?? NO_OWNER];
    if (address === undefined) throw new TidemarkError('REDIS_UNAVAILABLE', 'no primary is known for the slot of a key');
    return this.#connection(printAddress(address));
  }

  async #cluster(): Promise<Topology> {
    this.#topology ??= await this.#parts.discovery.topology(this.#parts.signal);
    return this.#topology;
  }

  #connection(address: string): Promise<Connection> {
    const known = this.#connections.get(address);
    if (known !== undefined) return known;
    const made = this.#parts.discovery.node(parseAddress(address, 0), this.#parts.signal).then((connection) => this.#owned(connection));
    this.#connections.set(address, made);
    made.catch(() => this.#connections.delete(address));
    return made;
  }

  #owned(connection: Connection): Connection {
    const { signal } = this.#parts;
    const stop = (): void => connection.fail(new TidemarkError('ABORTED', 'the snapshot was given up'));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    void connection.closed.then(() => signal.removeEventListener('abort', stop));
    return connection;
  }
}

/** Where a question goes that a node did not answer; null: what it said is the answer. */
function referred(question: Question, text: string): Question | null {
  const [, kind, address] = /^(MOVED|ASK) \d+ (\S+)/.exec(text) ?? [];
  if (kind !== undefined && address !== undefined) return { ...question, to: address, asking: kind === 'ASK' };
  return /^(TRYAGAIN|CLUSTERDOWN)/.test(text) ? { ...question, to: null, asking: false } : null;
}

function sameOwners(a: Topology, b: Topology): boolean {
  return a.ownerOf.every((owner, slot) => {
    const [one, other] = [a.primaries[owner], b.primaries[b.ownerOf[slot] ?? NO_OWNER]];
    return one !== undefined && other !== undefined && printAddress(one) === printAddress(other);
  });
}
