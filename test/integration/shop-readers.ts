import pg from 'pg';
import { tornTransactions } from '../fixtures/shop/schema.ts';

/** Sessions that read a replica all the while, as applications do. */
export interface ShopReaders extends AsyncDisposable {
  readonly counts: { looks: number };
  /** Ends them. @throws what a reader has seen: an error, a table without rows, part of a transaction */
  stop(): Promise<void>;
}

/** @param url of a database that has the shop already */
export function startShopReaders(url: string, count = 2): ShopReaders {
  const stopping = new AbortController();
  const counts = { looks: 0 };
  const readers = Promise.all(Array.from({ length: count }, () => read(url, stopping.signal, counts)));
  readers.catch(() => undefined);
  const stop = async (): Promise<void> => {
    stopping.abort();
    await readers;
  };
  return { counts, stop, [Symbol.asyncDispose]: () => stop().catch(() => undefined) };
}

async function read(url: string, signal: AbortSignal, counts: { looks: number }): Promise<void> {
  const client = new pg.Client({ connectionString: url, application_name: 'reader' });
  await client.connect();
  try {
    while (!signal.aborted) {
      const torn = await tornTransactions(client);
      if (torn.length > 0) throw new Error(`a reader saw part of a transaction: ${torn.slice(0, 3).join('; ')}`);
      const { rows } = await client.query<{ customers: string; products: string }>('SELECT (SELECT count(*) FROM customers) AS customers, (SELECT count(*) FROM products) AS products');
      if (Number(rows[0]?.customers) === 0 || Number(rows[0]?.products) === 0) throw new Error('a reader saw an empty table');
      counts.looks++;
    }
  } finally {
    await client.end();
  }
}
