import type { TableComparison } from '../test/fixtures/compare-databases.ts';
import type { MysqlSession } from '../test/fixtures/mysql-session.ts';
import type { RedisServer } from '../test/fixtures/redis.ts';

const MOST_DIFFERENCES = 5;

/** Compares every row of a table, whose key is `id`, with the hash `TABLE:ID` in the cache: these columns, none of them null. */
export async function compareCache(shop: MysqlSession, table: string, columns: readonly string[], redis: RedisServer): Promise<TableComparison> {
  await using client = redis.client();
  const rows = await shop.query(`SELECT ${columns.join(', ')} FROM ${table}`);
  const differences: string[] = [];
  for (const row of rows) {
    const cached = await client.hgetall(`${table}:${row['id']}`);
    const isEqual = Object.keys(cached).length === columns.length && columns.every((column) => cached[column] === row[column]);
    if (!isEqual) differences.push(`${table}:${row['id']} is ${JSON.stringify(cached)} instead of ${JSON.stringify(row)}`);
  }
  const keys = await client.keys(`${table}:*`);
  if (keys.length !== rows.length) differences.push(`the cache holds ${keys.length} keys`);
  return { table: `${table} in Redis`, rows: rows.length, equal: differences.length === 0, differences: differences.slice(0, MOST_DIFFERENCES) };
}
