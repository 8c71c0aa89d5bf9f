import { expect, it } from 'vitest';
import { PostgresConnector } from '../../../../connectors/postgres/connector.ts';
import { NEVER } from '../../../../contracts/kit/connector-kit-common.ts';
import { recordsOf, ReferenceLog } from '../../../../contracts/kit/reference-log.ts';
import type { SourceSnapshot } from '../../../../contracts/verify.ts';
import { startPostgres } from '../../../fixtures/embedded-postgres.ts';
import { follow } from '../../../integration/disaster-stand.ts';
import { Captured } from '../captured.ts';

/** Rows by key. */
async function rowsOf(it: Captured, snapshot: SourceSnapshot): Promise<Map<string, string>> {
  const rows = new Map<string, string>();
  for await (const batch of snapshot.rows(it.schema('t'), NEVER)) for (const { key, after } of recordsOf(batch)) rows.set(key, after);
  return rows;
}

/** The table as of the transactions that the snapshot says it sees. */
function seen(it: Captured, snapshot: SourceSnapshot): Map<string, string> {
  const { log } = it.test;
  const prefix = new ReferenceLog();
  for (const { kind, xid, commitTime, origin, position, after, last } of log.transactions) {
    const entry = { kind, xid, commitTime, origin, position: Buffer.from(position, 'hex'), first: 0, count: 0, begins: true, commits: true };
    if (snapshot.sees(entry)) prefix.records.push(...log.records.slice(after, last));
  }
  return prefix.fold(it.test.tableId('t'), prefix.records.length);
}

it('a snapshot of a standby shows exactly the transactions that it says it sees, while they come', async () => {
  await using primary = await startPostgres();
  await using standby = await startPostgres();
  await follow(standby, primary);
  await using captured = await Captured.begin(primary, 'CREATE TABLE t (id int PRIMARY KEY, v text)');
  const { source, test } = captured;
  await source.query(`INSERT INTO t SELECT g, 'first' FROM generate_series(1, 500) AS g`);
  await expect.poll(() => standby.query('SELECT count(*)::int AS count FROM t', [], source.database).catch(() => []), { timeout: 20_000 }).toEqual([{ count: 500 }]);
  await using connector = new PostgresConnector({ ...source.config, options: { ...source.config.options, url: standby.url(source.database) } }, source.runtime);
  let isOver = false;
  const writing = (async () => {
    for (let id = 501; !isOver; id++) await source.query(`INSERT INTO t VALUES (${id}, 'then'); UPDATE t SET v = v || '.' WHERE id % 50 = ${id % 50}`);
  })();
  let exact = 0;
  try {
    for (let round = 0; round < 8; round++) {
      await using snapshot = await connector.snapshot([], NEVER);
      const rows = await rowsOf(captured, snapshot);
      await test.until(() => snapshot.passedBy(test.start.position ?? new Uint8Array(0)), 'the stream to pass the snapshot');
      if (!snapshot.isExact) continue;
      exact++;
      expect(rows).toEqual(seen(captured, snapshot));
    }
  } finally {
    isOver = true;
    await writing;
  }
  expect(exact).toBeGreaterThan(2);
}, 120_000);
