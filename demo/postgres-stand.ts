import { compareDatabases } from '../test/fixtures/compare-databases.ts';
import { startPostgres } from '../test/fixtures/embedded-postgres.ts';
import { createShop } from '../test/fixtures/shop/schema.ts';
import { startShopWorkload } from '../test/fixtures/shop/workload.ts';
import type { DemoStand, StandBuilder } from './stand.ts';

/** A Postgres with a database for the shop and one for its replica. */
export const postgresStand: StandBuilder = { opening: 'Starting a real Postgres 18, with a database for the shop and one for its replica', open };

async function open(signal: AbortSignal): Promise<DemoStand> {
  const postgres = await startPostgres({ databases: ['shop', 'replica'], signal });
  const [shop, replica] = [postgres.url('shop'), postgres.url('replica')];
  return {
    place: `port ${postgres.port}`,
    config: {
      sources: { shop: { type: 'postgres', url: shop, tables: ['public.*'] } },
      sinks: { replica: { type: 'postgres', from: 'shop', url: replica, tables: ['public.*'] } },
    },
    orders: 'public.orders',
    urls: [shop, replica],
    createShop: (size) => createShop(shop, size),
    startWorkload: (options) => startShopWorkload({ ...options, url: shop }),
    async position() {
      const [row] = await postgres.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn', [], 'shop');
      const lsn = row?.lsn ?? '';
      return { shown: lsn, token: `lsn:${lsn}` };
    },
    compare: () => compareDatabases(shop, replica),
    [Symbol.asyncDispose]: () => postgres[Symbol.asyncDispose](),
  };
}
