import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SinkModel } from '../../../contracts/kit/sink-model.ts';
import { KIT_COLUMNS } from '../../../contracts/kit/sink-kit-rows.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { columnsOf } from './replica-stand.ts';
import { addColumn, tenRows } from './shadow-rows.ts';
import { ShadowStand } from './shadow-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server?.[Symbol.asyncDispose]());

describe('what somebody gives a table after the swap was planned', () => {
  for (const [what, given] of Object.entries({
    'a grant on a column': 'GRANT SELECT (name) ON things TO PUBLIC',
    'a comment on a column': "COMMENT ON COLUMN things.name IS 'given late'",
    'statistics of a column': 'ALTER TABLE things ALTER COLUMN name SET STATISTICS 77',
  })) {
    test(`${what} is there afterwards`, async () => {
      await using stand = await ShadowStand.open(server, { options: { lock_timeout: '20s' } });
      const { table } = await tenRows(stand);
      addColumn(stand, table);
      stand.append();
      await stand.fill();
      await stand.sink.shadow.finish(stand.request().tables, () => undefined, stand.signal);
      await stand.sink[Symbol.asyncDispose]();
      const reader = new pg.Client({ connectionString: stand.place.url() });
      await reader.connect();
      try {
        await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM things');
        const swapped = stand.swap().then(() => 'swapped', (failure: unknown) => failure);
        while ((await stand.sql("SELECT FROM pg_stat_activity WHERE application_name LIKE '%(rebuild)' AND query LIKE '%backend_xmin%'")).length === 0) await delay(5);
        await stand.sql(given);
        await reader.query('COMMIT');
        const outcome = await swapped;
        if (outcome !== 'swapped') {
          expect(outcome).toMatchObject({ code: 'REPLICA_BUSY' });
          await stand.swap();
        }
      } finally {
        await reader.end();
      }
      await stand.expectEqual();
      expect(await stand.sql(`SELECT attacl IS NOT NULL OR col_description(attrelid, attnum) IS NOT NULL OR coalesce(attstattarget, -1) >= 0
        FROM pg_attribute WHERE attrelid = 'things'::regclass AND attname = 'name'`)).toEqual([['true']]);
    });
  }
});

describe('a rebuild from another log', () => {
  test('is not refused for what depends on tables that have other ids there', async () => {
    await using old = await ShadowStand.open(server);
    const codes = old.model.createTable('public', 'codes', columnsOf({ code: 'integer', label: 'text' }), ['code']);
    old.model.insert(codes, ['1', 'one']);
    const { table: things } = await tenRows(old);
    await old.sql('CREATE VIEW labels AS SELECT label FROM codes');
    await old.sink[Symbol.asyncDispose]();
    const model = new SinkModel('b');
    const [first, second] = [model.createTable('public', 'things', KIT_COLUMNS, ['id']), model.createTable('public', 'codes', columnsOf({ code: 'integer', label: 'text' }), ['code'])];
    const tables = [{ ...first.schema, sourceTableId: things.schema.sourceTableId }, { ...second.schema, sourceTableId: codes.schema.sourceTableId }];
    const findings = await old.another().shadow.check(tables, old.signal);
    expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
  });
});
