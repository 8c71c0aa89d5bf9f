import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startMysql, type MysqlServer } from '../../fixtures/mysql.ts';

const MAGIC = 4;
const HEADER = 19;
const TABLE_ID = 6;
const CHECKSUM = 4;
/** Rows events of MariaDB: written, updated, deleted. */
const ROWS = new Map([[23, 'write'], [24, 'update'], [25, 'delete']]);

/** The rows events that a statement becomes, from behind their table id on. */
async function rowEvents(server: MysqlServer, image: string, statement: string): Promise<string[]> {
  await server.query('FLUSH BINARY LOGS');
  await server.query(`SET SESSION binlog_row_image = ${image}; ${statement}`, 'shop');
  const file = (await server.query('SHOW BINARY LOGS')).at(-1)?.['Log_name'] ?? '';
  const bytes = await readFile(join(server.dataDir, file));
  const events: string[] = [];
  for (let at = MAGIC; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at + 9);
    const kind = ROWS.get(bytes[at + 4] as number);
    if (kind !== undefined) events.push(`${kind} ${bytes.toString('hex', at + HEADER + TABLE_ID, at + length - CHECKSUM)}`);
    at += length;
  }
  return events;
}

test.each([['MINIMAL', "varchar(20) DEFAULT 'by default'", 'by default'], ['NOBLOB', 'text', null]])('MariaDB under %s writes the same bytes for a REPLACE, which sets a %s back, as for a change that leaves it: rows cannot be made whole', async (image, type, byDefault) => {
  await using server = await startMysql({ version: 'mariadb-11.8', databases: ['shop'] });
  await server.query(`CREATE TABLE t (id int PRIMARY KEY, a int, b ${type})`, 'shop');
  const value = async (): Promise<string | null> => (await server.query('SELECT b FROM t', 'shop'))[0]?.['b'] ?? null;
  await server.query(`INSERT INTO t VALUES (1, 1, 'kept')`, 'shop');
  const changed = await rowEvents(server, image, 'INSERT INTO t (id, a) VALUES (1, 2) ON DUPLICATE KEY UPDATE a = 2');
  expect(await value()).toBe('kept');
  await server.query('UPDATE t SET a = 1', 'shop');
  const replaced = await rowEvents(server, image, 'REPLACE INTO t (id, a) VALUES (1, 2)');
  expect(await value()).toBe(byDefault);
  expect(replaced).toHaveLength(1);
  expect(replaced[0]).toMatch(/^update /);
  expect(replaced).toEqual(changed);
});
