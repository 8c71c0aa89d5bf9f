import type { SinkConfig } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { parseCheckpoint } from './checkpoint.ts';
import { Discovery } from './discovery.ts';
import { avoids } from './key-template.ts';
import { ownKeys } from './open-store.ts';
import { readOptions, tableOptionsOf, type RedisOptions } from './options.ts';
import type { Connection } from './resp/connection.ts';
import { ReplyError } from './resp/reply-reader.ts';
import { accepted, bytesOf } from './server-error.ts';
import { layoutOf, type TableLayout } from './table-layout.ts';
import { overlapsOf } from './table-set.ts';

/** The least version whose commands the sink uses (`EXPIRE` in scripts and old servers are not worth the care). */
const MIN_VERSION = [6, 0] as const;

/** Looks at the server and at what the configuration makes of the tables. Changes nothing. */
export async function checkRedis(config: SinkConfig, runtime: Runtime, tables: readonly TableSchema[], signal: AbortSignal): Promise<Finding[]> {
  const findings: Finding[] = [];
  let options: RedisOptions;
  try {
    options = readOptions(config.name, (await config.freshOptions?.()) ?? config.options);
  } catch (error) {
    return [findingOf(error, 'redis-config')];
  }
  const layouts = checkTables(config, tables, options.prefix, findings);
  try {
    const discovery = new Discovery(options, config.name, runtime.clock);
    const key = ownKeys(options.prefix).checkpoint;
    await using connection = await discovery.holderOf(key, signal);
    findings.push(...(await checkServer(connection, options, layouts, key)));
  } catch (error) {
    signal.throwIfAborted();
    findings.push(findingOf(error, 'redis-connection'));
  }
  return findings;
}

function findingOf(error: unknown, code: string, table?: string): Finding {
  if (!(error instanceof TidemarkError)) throw error;
  return { severity: 'error', code, what: error.message, remedy: error.remedy, ...(table === undefined ? {} : { table }) };
}

function checkTables(config: SinkConfig, tables: readonly TableSchema[], prefix: string, findings: Finding[]): TableLayout[] {
  const layouts: TableLayout[] = [];
  for (const schema of tables) {
    const table = tableName(schema);
    try {
      const layout = layoutOf(schema, [schema], tableOptionsOf(config, schema), prefix);
      checkTable(layout, prefix, findings);
      layouts.push(layout);
    } catch (error) {
      findings.push(findingOf(error, 'redis-table', table));
    }
  }
  for (const [a, b] of overlapsOf(layouts)) {
    const [other, table] = [tableName(a.schema), tableName(b.schema)];
    findings.push({ severity: 'error', code: 'redis-key-overlap', what: `rows of ${other} and of ${table} could have the same Redis key`, remedy: OWN_KEY, table });
  }
  return layouts;
}

const OWN_KEY = 'Give each table a `key` that begins differently.';

function checkTable(layout: TableLayout, prefix: string, findings: Finding[]): void {
  const table = tableName(layout.schema);
  if (!avoids(layout.template, Buffer.from(prefix, 'utf8'))) {
    findings.push({ severity: 'error', code: 'redis-key-overlap', what: `rows of ${table} could have the name of one of the sink's own keys`, remedy: OWN_KEY, table });
  }
  if (layout.value === 'hash' && layout.fields.every(({ column }) => column.nullable)) {
    findings.push({
      severity: 'warning', code: 'redis-empty-hash', table,
      what: `every mirrored column of ${table} may be null; a row in which all are has no Redis key`,
      remedy: 'Mirror a column that is never null (the key), or use `value: json`.',
    });
  }
  if (layout.ttlMs !== null) {
    findings.push({
      severity: 'warning', code: 'redis-ttl', table,
      what: `rows of ${table} expire ${layout.ttlMs} ms after they were written: Redis then has fewer rows than the log`,
      remedy: 'Leave `ttl` out where every row must be found.',
    });
  }
}

async function checkServer(connection: Connection, options: RedisOptions, layouts: readonly TableLayout[], checkpointKey: string): Promise<Finding[]> {
  const info = infoOf(bytesOf(await connection.call('INFO'), connection.address).toString('utf8'));
  const findings: Finding[] = [];
  const version = info.get('redis_version') ?? '0';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const error = (code: string, what: string, remedy: string): void => void findings.push({ severity: 'error', code, what, remedy });
  const warning = (code: string, what: string, remedy: string): void => void findings.push({ severity: 'warning', code, what, remedy });
  if (major < MIN_VERSION[0] || (major === MIN_VERSION[0] && minor < MIN_VERSION[1])) {
    error('redis-version', `the server is Redis ${version}`, `Use Redis ${MIN_VERSION.join('.')} or later.`);
  }
  const inCluster = info.get('cluster_enabled') === '1';
  if (inCluster && options.cluster === null) error('redis-cluster', 'the server is part of a cluster', 'Add `cluster: plain` or `cluster: tagged` to the sink.');
  if (!inCluster && options.cluster !== null) error('redis-cluster', 'the server is not part of a cluster', 'Take `cluster` out of the sink.');
  const policy = info.get('maxmemory_policy') ?? 'noeviction';
  if (Number(info.get('maxmemory') ?? 0) > 0 && policy.startsWith('allkeys') && !options.acceptEviction) {
    error(
      'redis-eviction', `the server evicts keys when its memory is full (maxmemory-policy ${policy}): the checkpoint and rows would vanish`,
      'Run `CONFIG SET maxmemory-policy noeviction`, or say `accept_eviction: true`.',
    );
  } else if (Number(info.get('maxmemory') ?? 0) > 0 && policy !== 'noeviction') {
    warning('redis-eviction', `the server may evict keys (maxmemory-policy ${policy})`, 'Run `CONFIG SET maxmemory-policy noeviction` where every row must be found.');
  }
  if (info.get('aof_enabled') === '0' && info.get('connected_slaves') === '0') {
    warning('redis-persistence', 'the server keeps no append-only file and has no replica', 'Run `CONFIG SET appendonly yes`; without it the sink is rebuilt after a crash of the server.');
  }
  await checkModule(connection, layouts, error);
  if (inCluster === (options.cluster !== null)) await checkOwner(connection, checkpointKey, error);
  if (findings.length === 0) findings.push({ severity: 'ok', code: 'redis-server', what: `Redis ${version} at ${connection.address}`, remedy: '' });
  return findings;
}

type Note = (code: string, what: string, remedy: string) => void;

async function checkModule(connection: Connection, layouts: readonly TableLayout[], error: Note): Promise<void> {
  if (!layouts.some(({ value }) => value === 'redisjson')) return;
  const reply = await connection.call('COMMAND', 'INFO', 'JSON.SET');
  const known = Array.isArray(reply) && reply[0] !== null && reply[0] !== undefined && !(reply[0] instanceof ReplyError);
  if (!known) error('redis-json', 'the server has no RedisJSON', 'Load the module, or use `value: json`.');
}

/** Something else under the checkpoint's name would be overwritten. */
async function checkOwner(connection: Connection, key: string, error: Note): Promise<void> {
  const kind = accepted(await connection.call('TYPE', key), connection.address);
  if (kind === 'none') return;
  try {
    if (kind === 'hash') {
      parseCheckpoint(await connection.call('HGETALL', key), connection.address);
      return;
    }
  } catch (failure) {
    if (!(failure instanceof TidemarkError) || failure.code !== 'REDIS_PROTOCOL') throw failure;
  }
  error('redis-checkpoint', `the key ${key} holds something else than a checkpoint`, 'Give the sink another `prefix`.');
}

/** The fields of INFO. */
export function infoOf(text: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}
