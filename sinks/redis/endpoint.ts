import { TidemarkError } from '../../contracts/errors/error.ts';

/** Where a server listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What a URL says: `redis://[user[:password]@]host[:port][/database]`, with `rediss:` for TLS. */
export interface Endpoint {
  readonly address: Address;
  readonly username: string | null;
  readonly password: string | null;
  readonly database: number;
  readonly tls: boolean;
}

export const DEFAULT_PORT = 6379;
export const DEFAULT_SENTINEL_PORT = 26379;

/** @throws TidemarkError `REDIS_SERVER` when the text is no such URL; what it holds is not repeated: it may be a secret */
export function parseEndpoint(text: string, defaultPort: number = DEFAULT_PORT): Endpoint {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'redis:' && url.protocol !== 'rediss:') || url.hostname === '') {
    throw badAddress('`url` is not of the form redis://user:password@host:6379/0 (or rediss:// for TLS)');
  }
  const database = url.pathname === '' || url.pathname === '/' ? '0' : url.pathname.slice(1);
  if (!/^\d{1,5}$/.test(database)) throw badAddress('the database in `url` is not a number');
  return {
    address: { host: bare(url.hostname), port: url.port === '' ? defaultPort : Number(url.port) },
    username: url.username === '' ? null : decodeURIComponent(url.username),
    password: url.password === '' ? null : decodeURIComponent(url.password),
    database: Number(database),
    tls: url.protocol === 'rediss:',
  };
}

/** `host`, `host:port`, `[::1]:port`. @throws TidemarkError `REDIS_SERVER` */
export function parseAddress(text: string, defaultPort: number): Address {
  const url = URL.parse(`redis://${text}`);
  if (url === null || url.hostname === '' || url.username !== '' || (url.pathname !== '' && url.pathname !== '/')) {
    throw badAddress(`'${text}' is not an address of the form host:port`);
  }
  return { host: bare(url.hostname), port: url.port === '' ? defaultPort : Number(url.port) };
}

export function printAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function bare(hostname: string): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
}

function badAddress(what: string): TidemarkError {
  return new TidemarkError('REDIS_SERVER', what, { remedy: 'Correct the address of the sink.' });
}
