import { Redis } from 'ioredis';
import type { KeyReader } from './cache-place.ts';

export interface OpenReader extends KeyReader, AsyncDisposable {
  /** A client of the first server. */
  readonly redis: Redis;
}

/** Reads the keys of some servers. Each key is asked of every server until one has it: the way of a test, not of a client. */
export function openReader(ports: readonly number[]): Promise<OpenReader> {
  const clients = ports.map((port) => {
    const client = new Redis({ host: '127.0.0.1', port, lazyConnect: true, maxRetriesPerRequest: 3, retryStrategy: () => 100 });
    // A failure shows in the commands; the event only repeats it.
    client.on('error', () => undefined);
    return client;
  });
  const [redis] = clients;
  if (redis === undefined) throw new Error('a reader needs a server');
  const holder = new Map<string, Redis>();
  return Promise.resolve({
    redis,
    keys: async () => {
      holder.clear();
      const all: Buffer[] = [];
      for (const client of clients) {
        for (const key of await client.keysBuffer('*')) {
          holder.set(key.toString('latin1'), client);
          all.push(key);
        }
      }
      return all;
    },
    call: (command: string, key: Buffer) => (holder.get(key.toString('latin1')) ?? redis).callBuffer(command, key),
    [Symbol.asyncDispose]: () => {
      for (const client of clients) client.disconnect();
      return Promise.resolve();
    },
  });
}
