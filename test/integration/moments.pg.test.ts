import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { to as copyTo } from 'pg-copy-streams';
import { expect, test } from 'vitest';
import { canonicalSettingsSql } from '../../contracts/types/postgres-session.ts';
import { registry } from '../../hub/registry.ts';
import { startPostgres, type PostgresServer, type Session } from '../fixtures/embedded-postgres.ts';
import { startHubProcess } from '../fixtures/hub-process.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';
import { tidemark, type CliResult } from '../hub/cli/run-cli.ts';

const TABLE = 'public."Goods, all"';

/** What the source had at some moment. */
interface Seen {
  readonly lsn: string;
  readonly csv: string;
}

async function csvOf(session: Session): Promise<string> {
  return sorted(await text(session.query(copyTo(`COPY (SELECT * FROM ${TABLE}) TO STDOUT (FORMAT csv, HEADER)`))));
}

/** The heading, and the rows in an order of their own. */
function sorted(csv: string): string {
  const [heading = '', ...rows] = csv.split('\n');
  return [heading, ...rows.toSorted()].join('\n');
}

/** Runs statements, each a transaction of its own, and looks at the table after each. */
async function live(session: Session, statements: readonly string[]): Promise<Seen[]> {
  const seen: Seen[] = [];
  for (const statement of statements) {
    await session.query(statement);
    const { rows } = await session.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
    seen.push({ lsn: `lsn:${rows[0]?.lsn}`, csv: await csvOf(session) });
  }
  return seen;
}

async function opened(server: PostgresServer): Promise<Session> {
  const session = await server.connect('source');
  await session.query(canonicalSettingsSql());
  return session;
}

test('a table is, at every moment, what the source had there, as COPY prints it; also after kill -9, and without a hub', { timeout: 120_000 }, async () => {
  await using server = await startPostgres({ databases: ['source', 'replica'] });
  await using folder = await temporaryDirectory('moments');
  await using session = await opened(server);
  await session.query(`CREATE TABLE ${TABLE} (id bigint PRIMARY KEY, name text, amount numeric(12,2), at timestamptz, flag boolean, doc jsonb, raw bytea, tags text[])`);
  await session.query(`INSERT INTO ${TABLE} SELECT id, 'name ' || id, id / 7.0, now(), id % 2 = 0, jsonb_build_object('n', id), decode(md5(id::text), 'hex'), ARRAY['a', id::text] FROM generate_series(1, 300) id`);
  const config = {
    sources: { shop: { type: 'postgres', url: server.url('source'), tables: ['public.*'] } },
    sinks: { replica: { type: 'postgres', from: 'shop', url: server.url('replica'), tables: ['public.*'] } },
  };
  const run = (...args: string[]): Promise<CliResult> => tidemark(args, { cwd: folder.path, registry });
  let hub = await startHubProcess({ directory: folder.path, config });
  await hub.until('the table is copied', ({ sources }) => sources[0]?.tables[0]?.state === 'consistent');
  const seen = await live(session, [
    `INSERT INTO ${TABLE} VALUES (1003, '', 'NaN', 'infinity', NULL, 'null', '', '{}'), (1004, 'a "b", c\nd', -0.01, '0044-03-15 12:00:00+00 BC', true, '[1.10, 1e400]', NULL, '{NULL,"x y"}')`,
    `UPDATE ${TABLE} SET name = upper(name), amount = amount * 2 WHERE id % 3 = 0`,
    `DELETE FROM ${TABLE} WHERE id BETWEEN 50 AND 99`,
    `UPDATE ${TABLE} SET id = id + 5000 WHERE id < 10`,
    `ALTER TABLE ${TABLE} ADD COLUMN added int DEFAULT 7`,
    `ALTER TABLE ${TABLE} DROP COLUMN flag; UPDATE ${TABLE} SET added = id WHERE id > 5000`,
    `TRUNCATE ${TABLE}`,
    `INSERT INTO ${TABLE} SELECT id, 'again', 1, now(), '{}', '', '{}', 1 FROM generate_series(1, 20) id`,
  ]);
  const last = seen.at(-1);
  await hub.api.wait('replica', last?.lsn ?? '', 30_000, AbortSignal.timeout(40_000));

  const mustBeSeen = async (): Promise<void> => {
    for (const { lsn, csv } of seen) {
      const { code, stdout, stderr } = await run('table', 'shop', TABLE, '--as-of', lsn, '--format', 'csv');
      // A change of shape counts from its first use: the columns are there with the next row.
      if (csv.startsWith('id,name,amount,at,flag,doc,raw,tags,added\n') && stdout.startsWith('id,name,amount,at,flag,doc,raw,tags\n')) continue;
      expect([lsn, code, sorted(stdout), stderr]).toEqual([lsn, 0, csv, '']);
    }
  };
  await mustBeSeen();

  const [first, second, third] = seen;
  const diff = await run('diff', 'shop', TABLE, '--from', first?.lsn ?? '', '--to', third?.lsn ?? '');
  const before = new Set(first?.csv.split('\n').slice(1));
  const after = new Set(third?.csv.split('\n').slice(1));
  expect(diff.stdout.split('\n').at(-2)).toBe(`(0 added, 50 removed, ${[...after].filter((row) => !before.has(row)).length} changed)`);
  const history = await run('history', 'shop', TABLE, '--key', '51', '--from', first?.lsn ?? '', '--json');
  expect(history.stdout.split('\n').slice(0, -1).map((line) => (JSON.parse(line) as { op: string }).op)).toEqual(['r', 'u', 'd']);
  expect((await run('table', 'shop', TABLE, '--as-of', second?.lsn ?? '', '--where', '51', '--format', 'ndjson')).stdout).toContain('"name":"NAME 51"');

  // What a process that was killed leaves of its sorting goes at the next start; the log is what it was.
  await hub.kill();
  await mkdir(join(folder.path, 'data', 'sorting', 'hub-1'), { recursive: true });
  await writeFile(join(folder.path, 'data', 'sorting', 'hub-1', '000001.run'), 'left');
  await mustBeSeen();
  hub = await startHubProcess({ directory: folder.path, config: null });
  expect(await readdir(join(folder.path, 'data', 'sorting')).catch(() => [])).toEqual([]);
  await mustBeSeen();
  await hub.stop();
});
