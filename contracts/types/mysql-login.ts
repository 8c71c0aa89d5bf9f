/** How a connection is made and logged in: host, TLS, and the ways of proving a password. */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { authPlugins, createConnection, type AuthPlugin, type Connection, type ConnectionOptions, type SslOptions } from 'mysql2';
import { TidemarkError } from '../errors/error.ts';
import type { FileSystem } from '../runtime.ts';
import type { MysqlAddress, MysqlHost } from './mysql-address.ts';
import { signWithPassword } from './mysql-ed25519.ts';
import { mysqlError } from './mysql-errors.ts';

/** A connection that has logged in, before any statement. Whoever asked for it owns it and ends it by its socket. */
export interface Login {
  readonly connection: Connection;
  readonly socket: Socket;
  /** False: what is sent can be read on the way. */
  readonly isEncrypted: boolean;
}

type Files = Pick<FileSystem, 'readFile'>;

/** What a session may do besides single statements. Default: nothing. */
export interface LoginUse {
  /** `LOAD DATA LOCAL`: each such statement must bring its own stream; what the server names is never opened. */
  readonly loadsData?: boolean;
  /** Several statements at once. */
  readonly severalStatements?: boolean;
}

const KEEPALIVE_MS = 30_000;
/** What caching_sha2_password answers where it does not remember the user: the password itself is to be sent. */
const FULL_LOGIN = 4;
/** What a server of MariaDB sends to be signed. */
const CHALLENGE_BYTES = 32;

/**
 * Connects to `host` and logs in. `preferred` goes on without TLS where the server has none, or none that works: nothing of
 * the user has been sent by then.
 * @throws TidemarkError `MYSQL_UNREACHABLE`, `MYSQL_ACCESS`, `MYSQL_AUTH_PLUGIN`, `MYSQL_TLS`, `MYSQL_PROTOCOL`, `ABORTED`
 */
export async function logIn(address: MysqlAddress, host: MysqlHost, password: string | undefined, files: Files, signal: AbortSignal, use: LoginUse = {}): Promise<Login> {
  const ssl = host.socket === null ? await sslOptions(address, host, files) : null;
  if (ssl !== null) {
    try {
      const options = await commonOptions(address, host, password, files, true, use);
      return await attempt({ ...options, ssl }, host, true, signal);
    } catch (error) {
      if (address.sslMode !== 'preferred' || mysqlError(error).code !== 'MYSQL_TLS') throw error;
    }
  }
  return attempt(await commonOptions(address, host, password, files, false, use), host, false, signal);
}

async function attempt(options: ConnectionOptions, host: MysqlHost, isEncrypted: boolean, signal: AbortSignal): Promise<Login> {
  if (signal.aborted) throw aborted();
  const socket = host.socket === null ? connectTcp({ host: host.host, port: host.port }) : connectTcp({ path: host.socket });
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEPALIVE_MS);
  const abort = (): void => void socket.destroy(aborted());
  signal.addEventListener('abort', abort, { once: true });
  try {
    const connection = createConnection({ ...options, stream: () => socket });
    await new Promise<void>((resolve, reject) => {
      connection.once('connect', () => resolve());
      // For the life of the connection: an error that nobody listens to would end the process.
      connection.on('error', reject);
    });
    return { connection, socket, isEncrypted };
  } catch (error) {
    socket.destroy();
    if (signal.aborted) throw aborted();
    throw mysqlError(error);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

async function commonOptions(address: MysqlAddress, host: MysqlHost, password: string | undefined, files: Files, isEncrypted: boolean, use: LoginUse): Promise<ConnectionOptions> {
  return {
    host: host.host,
    port: host.port,
    user: address.user,
    ...(password === undefined ? {} : { password }),
    ...(address.database === '' ? {} : { database: address.database }),
    charset: 'utf8mb4',
    connectTimeout: address.connectTimeoutMs,
    // A server must not be able to ask for files of this machine: it may at most where the driver answers with a stream of ours.
    // A statement is a byte and its text, whoever writes it: no attributes stand in front.
    flags: ['-CLIENT_QUERY_ATTRIBUTES', ...(use.loadsData === true ? [] : ['-LOCAL_FILES'])],
    multipleStatements: use.severalStatements === true,
    connectAttributes: { program_name: 'tidemark' },
    enableCleartextPlugin: isEncrypted && (address.sslMode === 'verify_ca' || address.sslMode === 'verify_identity'),
    authPlugins: { client_ed25519: ed25519(password ?? ''), ...(isEncrypted ? {} : await plugins(address, host, password ?? '', files)) },
  };
}

/** MariaDB's: the password never leaves, with or without TLS. */
function ed25519(password: string): AuthPlugin {
  return () => (data) => signWithPassword(password, data.subarray(0, CHALLENGE_BYTES));
}

/** Without TLS the password goes out encrypted by the server's RSA key: by one that is known to be the server's, or not at all. */
async function plugins(address: MysqlAddress, host: MysqlHost, password: string, files: Files): Promise<Record<string, AuthPlugin>> {
  if (host.socket !== null) return { caching_sha2_password: authPlugins.caching_sha2_password({ overrideIsSecure: true }) };
  const key = await readPem(files, address.serverPublicKey);
  const options = key === undefined ? {} : { serverPublicKey: key };
  const caching = authPlugins.caching_sha2_password(options);
  const sha256 = authPlugins.sha256_password(options);
  if (key !== undefined || address.takesPublicKey || password === '') return { caching_sha2_password: caching, sha256_password: sha256 };
  return {
    caching_sha2_password: (metadata) => {
      const answer = caching(metadata);
      return (data) => {
        if (data.length === 1 && data[0] === FULL_LOGIN) throw withoutKey('caching_sha2_password');
        return answer(data);
      };
    },
    sha256_password: () => () => {
      throw withoutKey('sha256_password');
    },
  };
}

function withoutKey(plugin: string): TidemarkError {
  return new TidemarkError('MYSQL_AUTH_PLUGIN', `${plugin} wants the password, which would go out without TLS under a key that anybody on the way can give`, {
    remedy: 'Use TLS (`ssl-mode=required`), or name the file of the server\'s key with `server-public-key`, or accept any key with `get-server-public-key=true`.',
  });
}

/** Null: no TLS. Files are read anew each time, so that certificates can be renewed. */
async function sslOptions(address: MysqlAddress, host: MysqlHost, files: Files): Promise<SslOptions | null> {
  const { sslMode } = address;
  if (sslMode === 'disabled') return null;
  if (sslMode === 'verify_identity' && isIP(host.host) !== 0) {
    throw new TidemarkError('MYSQL_TLS', `ssl-mode=verify_identity wants a host name: ${host.host} is an address`);
  }
  const [ca, cert, key] = await Promise.all([address.sslCa, address.sslCert, address.sslKey].map((path) => readPem(files, path)));
  return {
    rejectUnauthorized: sslMode === 'verify_ca' || sslMode === 'verify_identity',
    verifyIdentity: sslMode === 'verify_identity',
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

async function readPem(files: Files, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return (await files.readFile(path)).toString('utf8');
  } catch (cause) {
    throw new TidemarkError('MYSQL_TLS', `the file ${path} cannot be read`, { cause });
  }
}

function aborted(): TidemarkError {
  return new TidemarkError('ABORTED', 'the connection was asked to end');
}
