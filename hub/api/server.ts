import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { parseLoopback } from '../config/address.ts';
import { createApp, type ApiParts } from './app.ts';
import { claimSocket, releaseSocket } from './socket-path.ts';

export interface ApiOptions extends ApiParts {
  /** Absolute path of the data folder, which exists and is locked by this hub. */
  readonly data: string;
  /** Loopback address, or null for the unix socket only. */
  readonly http: string | null;
}

/** The API while it listens. Disposing ends every request: those that wait are answered, streams are cut. */
export interface Api extends AsyncDisposable {
  readonly socket: string;
  /** The address with its real port, or null. */
  readonly http: string | null;
}

/** Longest time in ms that answers under way are given when the API closes. */
const GRACE_MS = 2000;

/** @throws TidemarkError `API_LISTEN`, `CONFIG_ADDRESS` */
export async function startApi(options: ApiOptions): Promise<Api> {
  const closing = new AbortController();
  const app = createApp(options, closing.signal);
  await app.ready();
  const servers: Server[] = [];
  const socket = await claimSocket(options.data);
  let closed: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    closing.abort(new TidemarkError('ABORTED', 'the hub is ending'));
    await Promise.all(servers.map((server) => closeServer(server, options.clock)));
    await app.close();
    await releaseSocket(options.data, socket);
  };
  const handler = (request: IncomingMessage, response: ServerResponse): void => app.routing(request, response);
  try {
    servers.push(await listenOnSocket(createServer(handler), socket));
    let http: string | null = null;
    if (options.http !== null) {
      const server = createServer(handler);
      servers.push(server);
      http = await listenOnAddress(server, options.http);
    }
    return { socket, http, [Symbol.asyncDispose]: () => (closed ??= close()) };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Finds out that nobody listens on an address, before anything is begun that needs it. @throws TidemarkError `API_LISTEN`, `CONFIG_ADDRESS` */
export async function mustBeFree(address: string): Promise<void> {
  const server = createServer();
  await listenOnAddress(server, address);
  const closed = once(server, 'close');
  server.close();
  await closed;
}

async function listenOnSocket(server: Server, path: string): Promise<Server> {
  // The mode counts from the moment the socket is there, so it cannot be set only afterwards.
  const before = process.umask(0o177);
  try {
    server.listen(path);
  } finally {
    process.umask(before);
  }
  await listening(server, path);
  await chmod(path, 0o600);
  return server;
}

async function listenOnAddress(server: Server, text: string): Promise<string> {
  const address = parseLoopback(text);
  if (address === null) throw new TidemarkError('CONFIG_ADDRESS', `${text} is not a loopback address with a port`);
  server.listen(address.port, address.host);
  await listening(server, text);
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${port}`;
}

async function listening(server: Server, where: string): Promise<void> {
  try {
    await once(server, 'listening');
  } catch (cause) {
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
    throw new TidemarkError('API_LISTEN', `cannot listen on ${where} (${why})`, { cause });
  }
}

async function closeServer(server: Server, clock: ApiOptions['clock']): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  server.closeIdleConnections();
  const enough = new AbortController();
  const cut = clock.sleep(GRACE_MS, enough.signal).then(
    () => server.closeAllConnections(),
    () => undefined,
  );
  await closed;
  enough.abort();
  await cut;
}
