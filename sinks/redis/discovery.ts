/**
 * Finds servers and connects to them. ioredis knows the ways: it asks sentinels for the primary and cluster nodes for
 * the slots. The connections that carry data are the sink's own (resp/connection.ts), since what is sent there are
 * ready-made bytes.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions as TlsOptions } from 'node:tls';
import { Cluster, SentinelConnector } from 'ioredis';
import { asTidemarkError, TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock } from '../../contracts/runtime.ts';
import {
  DEFAULT_PORT, DEFAULT_SENTINEL_PORT, parseAddress, parseEndpoint, printAddress, type Address, type Endpoint,
} from './endpoint.ts';
import type { RedisOptions } from './options.ts';
import { Connection } from './resp/connection.ts';
import { ReplyError } from './resp/reply-reader.ts';
import { slotOf, SLOTS } from './resp/slot.ts';
import { accepted, arrayOf, bytesOf, serverError } from './server-error.ts';

/** Which primary holds each slot, by index into `primaries`; 0xffff: none. */
export interface Topology {
  readonly primaries: readonly Address[];
  readonly ownerOf: Uint16Array;
}

export const NO_OWNER = 0xffff;

/** Makes connections by the sink's options. Holds no resources of its own. */
export class Discovery {
  readonly #options: RedisOptions;
  readonly #endpoint: Endpoint;
  readonly #clock: Clock;
  readonly #clientName: string;
  /** The database of the connections. */
  readonly database: number;

  /**
   * @param database null: the one that `url` names
   * @throws TidemarkError `REDIS_SERVER` when an address cannot be read, or `shadow_db` is the database that is served
   */
  constructor(options: RedisOptions, sink: string, clock: Clock, database: number | null = null) {
    this.#options = options;
    this.#endpoint = parseEndpoint(options.url, options.primary === null ? DEFAULT_PORT : DEFAULT_SENTINEL_PORT);
    this.#clock = clock;
    this.#clientName = `tidemark-${sink}`;
    if (options.cluster !== null && this.#endpoint.database !== 0) {
      throw new TidemarkError('REDIS_SERVER', 'a cluster has only database 0', { remedy: 'Take the database out of `url`.' });
    }
    if (options.cluster === null && options.shadowDb === this.#endpoint.database) {
      throw new TidemarkError('REDIS_SERVER', `\`shadow_db\` is database ${options.shadowDb}, which is the one that is served`, { remedy: 'Give `shadow_db` the number of an empty database.' });
    }
    this.database = database ?? this.#endpoint.database;
  }

  /** The server, or the one that the sentinels name as primary. @throws TidemarkError */
  async primary(signal: AbortSignal): Promise<Connection> {
    if (this.#options.primary === null) return this.node(this.#endpoint.address, signal);
    const socket = await this.#sentinelSocket(this.#options.primary, signal);
    const address = printAddress({ host: socket.remoteAddress ?? this.#options.primary, port: socket.remotePort ?? 0 });
    return this.#ready(socket, address);
  }

  /** A server by its address. @throws TidemarkError */
  async node(address: Address, signal: AbortSignal): Promise<Connection> {
    const tls = this.#endpoint.tls;
    const socket = tls ? connectTls({ ...address, ...this.#tls(address.host) }) : connectTcp(address);
    await this.#connected(socket, tls ? 'secureConnect' : 'connect', printAddress(address), signal);
    return this.#ready(socket, printAddress(address));
  }

  /** Whether a checkpoint says that a rebuild is under way; for a sink that is not open. @throws TidemarkError */
  async rebuildPending(checkpointKey: string, signal: AbortSignal): Promise<boolean> {
    await using connection = await this.holderOf(checkpointKey, signal);
    return accepted(await connection.call('HEXISTS', checkpointKey, 'rebuild'), connection.address) === 1;
  }

  /** The server that has a key. @throws TidemarkError */
  async holderOf(key: string, signal: AbortSignal): Promise<Connection> {
    if (this.#options.cluster === null) return this.primary(signal);
    return this.node(ownerOf(await this.topology(signal), key), signal);
  }

  /** The cluster as it is now. @throws TidemarkError `SINK_UNREACHABLE`, `REDIS_DENIED`, `REDIS_UNAVAILABLE` */
  async topology(signal: AbortSignal): Promise<Topology> {
    signal.throwIfAborted();
    const { address, username, password, tls } = this.#endpoint;
    const nodes = [address, ...this.#options.nodes.map((node) => parseAddress(node, DEFAULT_PORT))];
    const cluster = new Cluster([...nodes], {
      lazyConnect: true,
      clusterRetryStrategy: null,
      enableReadyCheck: false,
      slotsRefreshTimeout: this.#options.timeoutMs,
      redisOptions: {
        ...(username === null ? {} : { username }),
        ...(password === null ? {} : { password }),
        ...(tls ? { tls: this.#tls(address.host) } : {}),
        connectTimeout: this.#options.timeoutMs,
      },
    });
    let lastError: unknown = null;
    cluster.on('error', (error: unknown) => (lastError = error));
    cluster.on('node error', (error: unknown) => (lastError = error));
    const stop = (): void => cluster.disconnect();
    signal.addEventListener('abort', stop, { once: true });
    try {
      await cluster.connect();
      return topologyOf(cluster.slots);
    } catch (error) {
      signal.throwIfAborted();
      throw clusterError(lastError ?? error);
    } finally {
      signal.removeEventListener('abort', stop);
      cluster.disconnect();
    }
  }

  async #sentinelSocket(name: string, signal: AbortSignal): Promise<Socket> {
    const { address, tls } = this.#endpoint;
    const { sentinel, nodes, timeoutMs } = this.#options;
    const sentinels = [address, ...nodes.map((node) => parseAddress(node, DEFAULT_SENTINEL_PORT))];
    const connector = new SentinelConnector({
      name,
      role: 'master',
      sentinels,
      connectTimeout: timeoutMs,
      sentinelCommandTimeout: timeoutMs,
      sentinelRetryStrategy: () => null,
      disconnectTimeout: 1000,
      updateSentinels: true,
      failoverDetector: false,
      ...(sentinel.username === undefined ? {} : { sentinelUsername: sentinel.username }),
      ...(sentinel.password === undefined ? {} : { sentinelPassword: sentinel.password }),
      ...(sentinel.tls === true ? { sentinelTLS: this.#tls(address.host) } : {}),
      ...(tls ? { tls: this.#tls(null), enableTLSForSentinelMode: true } : {}),
    });
    signal.throwIfAborted();
    const reasons: string[] = [];
    const socket = await connector.connect((_, error) => void reasons.push(error.message)).catch((error: unknown) => {
      throw new TidemarkError('SINK_UNREACHABLE', `no sentinel names the primary '${name}': ${[...reasons, messageOf(error)].join('; ')}`, { cause: error });
    });
    await this.#connected(socket, tls ? 'secureConnect' : 'connect', `the primary '${name}'`, signal);
    return socket;
  }

  /** Waits until a socket is connected; destroys it when that fails. */
  async #connected(socket: Socket, event: 'connect' | 'secureConnect', address: string, signal: AbortSignal): Promise<void> {
    const done = Promise.withResolvers<void>();
    const fail = (error: unknown): void => done.reject(error);
    const abort = (): void => done.reject(signal.reason);
    const late = new AbortController();
    socket.once(event, () => done.resolve());
    socket.once('error', fail);
    socket.once('close', () => done.reject(new Error('closed while connecting')));
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    void this.#clock.sleep(this.#options.timeoutMs, late.signal).then(
      () => done.reject(new Error(`no connection within ${this.#options.timeoutMs} ms`)),
      () => undefined,
    );
    try {
      await done.promise;
    } catch (error) {
      // A late error of a socket that is given up is nobody's.
      socket.on('error', () => undefined);
      socket.destroy();
      signal.throwIfAborted();
      throw new TidemarkError('SINK_UNREACHABLE', `cannot connect to ${address}: ${messageOf(error)}`, { cause: error });
    } finally {
      late.abort();
      signal.removeEventListener('abort', abort);
      socket.off('error', fail);
    }
  }

  /** Logs in, chooses the database, and makes sure that the server takes writes. */
  async #ready(socket: Socket, address: string): Promise<Connection> {
    const connection = new Connection(socket, { address, clock: this.#clock, timeoutMs: this.#options.timeoutMs });
    try {
      const { database } = this;
      const { username, password } = this.#endpoint;
      if (password !== null) {
        accepted(await connection.call('AUTH', ...(username === null ? [] : [username]), password), address);
      }
      // A name is for people; a server that refuses it is as good.
      await connection.call('CLIENT', 'SETNAME', this.#clientName);
      if (database !== 0) accepted(await connection.call('SELECT', String(database)), address);
      const role = await connection.call('ROLE');
      if (role instanceof ReplyError && role.text.startsWith('NOPERM')) return connection;
      const name = bytesOf(arrayOf(role, address)[0] ?? null, address).toString('latin1');
      if (name !== 'master') throw serverError(`READONLY it is a ${name}, not a primary`, address);
      return connection;
    } catch (error) {
      await connection[Symbol.asyncDispose]();
      throw error;
    }
  }

  #tls(host: string | null): TlsOptions {
    const { ca, cert, key, servername } = this.#options.tls;
    const name = servername ?? host;
    return {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(name === null || /^[\d.]+$|:/.test(name) ? {} : { servername: name }),
    };
  }
}

/** The primary that has the slot of a key. @throws TidemarkError `REDIS_UNAVAILABLE` */
export function ownerOf(topology: Topology, key: string): Address {
  const bytes = Buffer.from(key, 'utf8');
  const address = topology.primaries[topology.ownerOf[slotOf(bytes, 0, bytes.length)] ?? NO_OWNER];
  if (address === undefined) throw new TidemarkError('REDIS_UNAVAILABLE', `no primary is known for the slot of ${key}`);
  return address;
}

/** @param slots for each slot the nodes that serve it as `host:port`, the primary first */
export function topologyOf(slots: readonly (readonly string[] | undefined)[]): Topology {
  const primaries: Address[] = [];
  const known = new Map<string, number>();
  const ownerOf = new Uint16Array(SLOTS).fill(NO_OWNER);
  for (let slot = 0; slot < SLOTS; slot++) {
    const node = slots[slot]?.[0];
    if (node === undefined) continue;
    let index = known.get(node);
    if (index === undefined) {
      const colon = node.lastIndexOf(':');
      index = primaries.push({ host: node.slice(0, colon), port: Number(node.slice(colon + 1)) }) - 1;
      known.set(node, index);
    }
    ownerOf[slot] = index;
  }
  const missing = ownerOf.indexOf(NO_OWNER);
  if (missing >= 0) throw new TidemarkError('REDIS_UNAVAILABLE', `the cluster has no primary for slot ${missing}`);
  return { primaries, ownerOf };
}

function clusterError(error: unknown): TidemarkError {
  if (error instanceof TidemarkError) return error;
  const text = messageOf(error);
  if (/cluster support disabled/i.test(text)) {
    return new TidemarkError('REDIS_SERVER', 'the server is not part of a cluster', { remedy: 'Take `cluster` out of the sink.', cause: error });
  }
  if (/^(NOAUTH|WRONGPASS|NOPERM)/.test(text)) return serverError(text, 'the cluster');
  return asTidemarkError(error, 'SINK_UNREACHABLE');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
