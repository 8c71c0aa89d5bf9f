import { describe, expect, test } from 'vitest';
import { listTables } from '../../../../connectors/mysql/catalog/catalog-query.ts';
import { readTables } from '../../../../connectors/mysql/catalog/catalog-reading.ts';
import { preflight } from '../../../../connectors/mysql/check.ts';
import { startMysql } from '../../../fixtures/mysql.ts';
import { endpointOf, mysqlSource, never } from '../mysql-source.ts';

/** MariaDB takes minutes to make more, and longer than that on a busy disk. */
const TABLES = { mysql: 10_000, mariadb: 3_000 } as const;
const PER_STATEMENT = 100;
/** Of the whole check, on a machine that does other things too. */
const LIMIT_MS = 60_000;

describe.each(['mysql-9', 'mariadb-11.8', 'mysql-8.0.15'] as const)('%s', (version) => {
  test('a check of thousands of tables takes seconds, and a look at a few of them far less', async () => {
    // MariaDB would flush the definition of every table by itself.
    await using server = await startMysql({ version, databases: ['shop'], settings: version.startsWith('mariadb') ? { sync_frm: false } : {} });
    await using writer = await server.connect('shop');
    const count = TABLES[server.flavor];
    for (let at = 0; at < count; at += PER_STATEMENT) {
      const names = Array.from({ length: PER_STATEMENT }, (_, index) => `t${at + index}`);
      await writer.query(names.map((name) => `CREATE TABLE ${name} (id INT PRIMARY KEY, a VARCHAR(20) NOT NULL DEFAULT 'x', b DATETIME(3), c DECIMAL(10,2), j JSON, UNIQUE KEY u (a))`).join(';'));
    }
    await using session = await endpointOf(server.url()).open(never);
    const times: Record<string, number> = {};
    const timed = async <T>(what: string, run: () => Promise<T>): Promise<T> => {
      const start = performance.now();
      const result = await run();
      times[what] = Math.round(performance.now() - start);
      return result;
    };
    const tables = await timed('list', () => listTables(session));
    const shapes = await timed('shapes', () => readTables(session, tables));
    expect(shapes.tables.length).toBe(count);
    const few = await timed('few', () => readTables(session, tables.slice(0, 20)));
    expect(few.tables).toEqual(shapes.tables.slice(0, 20));
    const findings = await timed('check', () => preflight(session, mysqlSource(server.url()), session.options, null));
    expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    process.stdout.write(`${version}: ${JSON.stringify(times)} ms\n`);
    expect(times['check']).toBeLessThan(LIMIT_MS);
    expect(times['few']).toBeLessThan(Math.max(500, (times['shapes'] ?? 0) / 4));
  });
});
