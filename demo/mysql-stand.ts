import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describeError } from '../contracts/errors/error.ts';
import { compareMysqlDatabases } from '../test/fixtures/compare-mysql.ts';
import { installedMysql } from '../test/fixtures/mysql-installed.ts';
import { type MysqlFlavor, type MysqlOptions, type MysqlServer, type MysqlVersion, startMysql } from '../test/fixtures/mysql.ts';
import { type RedisServer, startRedis } from '../test/fixtures/redis.ts';
import { createMysqlShop } from '../test/fixtures/shop/mysql-schema.ts';
import { startMysqlShopWorkload } from '../test/fixtures/shop/mysql-workload.ts';
import { isProvided, provideServer } from '../test/setup/servers/provide.ts';
import { compareCache } from './cache.ts';
import type { DemoStand, StandBuilder } from './stand.ts';

const NAMES: Readonly<Record<MysqlFlavor, string>> = { mysql: 'MySQL', mariadb: 'MariaDB' };
/** Fetched where no server is installed. */
const FETCHED: Readonly<Record<MysqlFlavor, MysqlVersion>> = { mysql: 'mysql-9', mariadb: 'mariadb-11.8' };
const CACHED_COLUMNS = ['id', 'sku', 'title', 'price', 'version'] as const;

/** A server for the shop, one for its replica, and a Redis for its products where there is one. */
export function mysqlStand(flavor: MysqlFlavor): StandBuilder {
  const cache = hasRedis() ? ', and a Redis for its products' : ' (a Redis for its products would be started, too, were redis-server on the PATH)';
  return { opening: `Starting two real ${NAMES[flavor]} servers, for the shop and for its replica${cache}`, open: (signal) => open(flavor, signal) };
}

async function open(flavor: MysqlFlavor, signal: AbortSignal): Promise<DemoStand> {
  const server = await findServer(flavor);
  await using stack = new AsyncDisposableStack();
  const shop = stack.use(await startMysql({ ...server, databases: ['shop'], signal }));
  const replica = stack.use(await startMysql({ ...server, databases: ['shop'], signal }));
  const redis = hasRedis() ? stack.use(await startRedis()) : null;
  signal.throwIfAborted();
  const owned = stack.move();
  return {
    place: `ports ${shop.port} and ${replica.port}`,
    config: configFor(shop, replica, redis),
    orders: 'shop.orders',
    urls: [shop.url('shop'), replica.url('shop'), ...(redis === null ? [] : [redis.url])],
    async createShop(size) {
      await using session = await shop.connect('shop');
      await createMysqlShop(session, size);
    },
    startWorkload: (options) => startMysqlShopWorkload({ ...options, connect: () => shop.connect('shop') }),
    async position() {
      const [row] = await shop.query(flavor === 'mysql' ? 'SELECT @@GLOBAL.gtid_executed AS gtids' : 'SELECT @@GLOBAL.gtid_binlog_pos AS gtids');
      const gtids = row?.['gtids']?.replaceAll(/\s/g, '') ?? '';
      return { shown: gtids, token: `gtid:${gtids}` };
    },
    async compare() {
      await using first = await shop.connect('shop');
      await using second = await replica.connect('shop');
      const tables = await compareMysqlDatabases(first, second);
      return redis === null ? tables : [...tables, await compareCache(first, 'products', CACHED_COLUMNS, redis)];
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function configFor(shop: MysqlServer, replica: MysqlServer, redis: RedisServer | null): Readonly<Record<string, unknown>> {
  const cache = redis === null ? {} : { cache: { type: 'redis', from: 'shop', url: redis.url, tables: { 'shop.products': { key: 'products:{id}', columns: [...CACHED_COLUMNS] } } } };
  return {
    sources: { shop: { type: 'mysql', url: shop.url('shop'), tables: ['shop.*'] } },
    sinks: { replica: { type: 'mysql', from: 'shop', url: replica.url('shop'), tables: ['shop.*'] }, ...cache },
  };
}

/** A server that has been fetched before, else one that is installed, else one that is fetched now. @throws Error what is missing */
async function findServer(flavor: MysqlFlavor): Promise<Pick<MysqlOptions, 'version' | 'binaries'>> {
  const version = FETCHED[flavor];
  if (isProvided(version)) return { version };
  const installed = await installedMysql();
  if (installed?.flavor === flavor) return { binaries: installed };
  try {
    await provideServer(version);
    return { version };
  } catch (error) {
    const program = flavor === 'mysql' ? 'mysqld' : 'mariadbd';
    const found = installed === null ? '' : ` What is installed is ${NAMES[installed.flavor]}: try --source ${installed.flavor}.`;
    throw new Error(
      `there is no ${NAMES[flavor]} server at hand: install one, so that ${program} is on the PATH (it need not run), and try again.${found} Fetching one from Debian failed: ${describeError(error)}`,
      { cause: error },
    );
  }
}

function hasRedis(): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => folder !== '' && existsSync(join(folder, 'redis-server')));
}
