import type { Offset } from '../../contracts/offset.ts';
import type { KeyScratch } from './key-scratch.ts';
import { CommandBuffer, encodeArgument, type CommandChunk } from './resp/command-buffer.ts';
import type { Connection, Failure } from './resp/connection.ts';
import type { RowTarget } from './row-target.ts';

/** What a plain cluster keeps for all its lanes: what must happen before and after the rows themselves. */
export interface LaneHost {
  readonly freshFrom: Offset;
  readonly replaces: boolean;
  wants(tableId: number, version: number): boolean;
  /** Runs before rows are sent: keys stand in a set before they exist. @throws TidemarkError */
  beforeRows(): Promise<void>;
  seen(key: KeyScratch): void;
  add(set: string, key: KeyScratch): void;
  remove(set: string, key: KeyScratch): void;
  publish(key: KeyScratch, command: Buffer): void;
}

/** A command that a node did not take, and what it said. */
export interface Refused {
  readonly command: Buffer;
  readonly text: string;
}

interface Flight {
  readonly chunk: CommandChunk;
  readonly failures: Promise<readonly Failure[]>;
}

/** Bytes sent to one node whose replies are outstanding, above which the lane waits. */
const MAX_FLIGHT = 4 << 20;
const PUBLISH = encodeArgument('PUBLISH');

/** The way to one node of a plain cluster. Keeps what it has sent until it is answered: the node may refer it on. */
export class Lane implements RowTarget {
  readonly out: CommandBuffer;
  readonly connection: Connection;
  readonly #host: LaneHost;
  #flights: Flight[] = [];
  #bytes = 0;
  #refused: Refused[] = [];

  constructor(connection: Connection, host: LaneHost) {
    this.connection = connection;
    this.#host = host;
    this.out = new CommandBuffer(connection.pool, true);
  }

  get freshFrom(): Offset {
    return this.#host.freshFrom;
  }

  get replaces(): boolean {
    return this.#host.replaces;
  }

  /** What is applied is known for the store as a whole, not for a node. */
  isAhead(): boolean {
    return false;
  }

  wants(tableId: number, version: number): boolean {
    return this.#host.wants(tableId, version);
  }

  seen(key: KeyScratch): void {
    this.#host.seen(key);
  }

  add(set: string, key: KeyScratch): void {
    this.#host.add(set, key);
  }

  remove(set: string, key: KeyScratch): void {
    this.#host.remove(set, key);
  }

  publish(channel: Buffer, key: KeyScratch): void {
    const command = new CommandBuffer(this.connection.pool);
    command.begin(3);
    command.raw(PUBLISH);
    command.raw(channel);
    command.argument(key.bytes, 0, key.length);
    const { bytes, release } = command.take();
    this.#host.publish(key, Buffer.from(bytes));
    release();
    this.connection.pool.give(command.bytes);
  }

  async push(): Promise<void> {
    if (this.out.commands === 0) return;
    await this.#host.beforeRows();
    const chunk = this.out.take();
    // The chunk's memory is needed until the replies are in; what the socket gives back is not given on.
    this.connection.send({ ...chunk, release: () => undefined });
    this.#flights.push({ chunk, failures: this.connection.run(chunk.commands) });
    this.#bytes += chunk.bytes.length;
    await this.connection.writable();
    while (this.#bytes > MAX_FLIGHT) await this.#land();
  }

  /** Sends what is left, waits for all replies, and hands out what the node refused, in order. @throws TidemarkError */
  async drain(): Promise<readonly Refused[]> {
    await this.push();
    while (this.#flights.length > 0) await this.#land();
    const refused = this.#refused;
    this.#refused = [];
    return refused;
  }

  async #land(): Promise<void> {
    const flight = this.#flights[0];
    if (flight === undefined) return;
    const { chunk } = flight;
    for (const { index, text } of await flight.failures) {
      const start = chunk.starts[index] ?? 0;
      const end = chunk.starts[index + 1] ?? chunk.bytes.length;
      this.#refused.push({ command: Buffer.from(chunk.bytes.subarray(start, end)), text });
    }
    this.#flights.shift();
    this.#bytes -= chunk.bytes.length;
    chunk.release();
  }
}
