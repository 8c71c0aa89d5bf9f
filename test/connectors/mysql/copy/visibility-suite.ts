import { describe, expect, it } from 'vitest';
import type { CopiedChunk } from '../../../../contracts/connector.ts';
import { MysqlCopier } from '../../../../connectors/mysql/copy/copier.ts';
import { startMysql, type MysqlServer, type MysqlSettings, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { never } from '../mysql-source.ts';
import { benchOf, rowsOf } from './copying.ts';
import { FollowedBinlog, type Rows } from './followed-binlog.ts';

const ROWS = 60;

/** Transactions of one to three rows, as fast as they go; some of them XA. */
async function writing(server: MysqlServer, table: string, which: number, signal: AbortSignal): Promise<number> {
  await using session = await server.connect('shop');
  let count = 0;
  for (; !signal.aborted; count++) {
    const ids = [1, 2, 3].map((step) => 1 + ((count * 7919 + which * 13 + step * step) % ROWS)).toSorted((a, b) => a - b);
    const isXa = which === 0 && count % 4 === 0;
    await session.query(isXa ? `XA START 'x${which}-${count}'` : 'BEGIN');
    try {
      for (const id of ids) await session.query(`UPDATE ${table} SET v = v + 1 WHERE id = ${id}`);
      if (count % 5 === 0) await session.query(`DELETE FROM ${table} WHERE id = ${1000 + which * 1000 + count - 5}`);
      if (count % 3 === 0) await session.query(`INSERT INTO ${table} VALUES (${1000 + which * 1000 + count}, 0, 'new')`);
    } catch (error) {
      if (!(error instanceof Error) || !/deadlock|rollback/i.test(error.message)) throw error;
      await session.query(isXa ? `XA END 'x${which}-${count}'; XA ROLLBACK 'x${which}-${count}'` : 'ROLLBACK').catch(() => session.query(`XA ROLLBACK 'x${which}-${count}'`));
      continue;
    }
    await session.query(isXa ? `XA END 'x${which}-${count}'; XA PREPARE 'x${which}-${count}'; XA COMMIT 'x${which}-${count}'` : 'COMMIT');
  }
  return count;
}

interface Taken {
  readonly chunk: CopiedChunk;
  readonly rows: Rows;
}

/** Of the followed transactions: those that are certainly seen, and those at which the chunk's end has been passed. */
function bracket(followed: FollowedBinlog, { chunk }: Taken): { seen: number; end: number } {
  let seen = 0;
  while (seen < followed.transactions.length && chunk.sees(followed.entry(seen))) seen++;
  let end = 0;
  while (end < followed.transactions.length && !chunk.passedBy(followed.entry(end).position)) end++;
  return { seen, end: end + 1 };
}

async function chunksUnderWriters(server: MysqlServer, keyed: boolean, chunks: number): Promise<void> {
  const table = keyed ? 'keyed' : 'bag';
  await server.query(`CREATE TABLE ${table} (id int NOT NULL${keyed ? ' PRIMARY KEY' : ', KEY (id)'}, v int NOT NULL, note varchar(20))`, 'shop');
  await server.query(`INSERT INTO ${table} VALUES ${Array.from({ length: ROWS }, (_, id) => `(${id + 1}, 0, 'old')`).join(', ')}`, 'shop');
  await using bench = await benchOf(server);
  const schema = await bench.follow(table);
  await using followed = await FollowedBinlog.start(server, table);
  await using copier = new MysqlCopier({ ...bench.deps, stream: followed });
  const start: Rows = new Map(Array.from({ length: ROWS }, (_, id) => [String(id + 1), `${id + 1} 0`]));
  const stop = new AbortController();
  const writers = [0, 1, 2, 3].map((which) => writing(server, table, which, stop.signal));
  const taken: Taken[] = [];
  let delivered = 0;
  try {
    for (let count = 0; count < chunks; count++) {
      delivered = followed.transactions.length;
      const plan = await copier.plan(schema, null, never);
      const chunk = await copier.chunk(plan, plan.ranges[0] ?? '', never).catch((error: unknown) => {
        if (error instanceof Error && 'code' in error && error.code === 'MYSQL_COPY_LOCKED') return null;
        throw error;
      });
      if (chunk === null) continue;
      const rows = new Map((await rowsOf(chunk)).map(({ cells: [id, v] }) => [id ?? '', `${id} ${v}`]));
      // What the stream had delivered when the plan was asked for is seen.
      if (delivered > 0) expect(chunk.sees(followed.entry(delivered - 1))).toBe(true);
      taken.push({ chunk, rows });
      await chunk[Symbol.asyncDispose]();
    }
  } finally {
    stop.abort();
    await Promise.all(writers);
  }
  await followed.caughtUp();
  expect(taken.length).toBeGreaterThan(chunks / 2);
  for (const one of taken) {
    const { seen, end } = bracket(followed, one);
    // As the hub joins it: the rows, then the window again, up to any place behind the chunk's end.
    expect(followed.fold(one.rows, seen, end)).toEqual(followed.fold(start, 0, end));
    if (!keyed) expect(one.rows).toEqual(followed.fold(start, 0, seen));
  }
  const [{ count = '' } = {}] = await server.query(`SELECT count(*) AS count FROM ${table}`, 'shop');
  expect(followed.fold(start, 0, followed.transactions.length).size).toBe(Number(count));
}

export interface ServerUnderTest {
  readonly what: string;
  readonly version: MysqlVersion;
  readonly settings: MysqlSettings;
  readonly durable: boolean;
}

/** Those whose transactions are committed most out of order come first. */
export const SERVERS: readonly ServerUnderTest[] = [
  { what: 'MySQL 9, commits in any order', version: 'mysql-9', settings: { binlog_order_commits: 'OFF', binlog_group_commit_sync_delay: 2000 }, durable: true },
  { what: 'MariaDB 11.8, with group commits', version: 'mariadb-11.8', settings: { binlog_commit_wait_count: 3, binlog_commit_wait_usec: 5000 }, durable: true },
  { what: 'MySQL 9', version: 'mysql-9', settings: {}, durable: false },
  { what: 'MySQL 8.0, commits in any order', version: 'mysql-8.0', settings: { binlog_order_commits: 'OFF' }, durable: false },
  { what: 'MySQL 8.0 without GTIDs', version: 'mysql-8.0', settings: { gtid_mode: 'OFF', enforce_gtid_consistency: 'OFF' }, durable: false },
  { what: 'MariaDB 11.8', version: 'mariadb-11.8', settings: {}, durable: false },
];

/** Copies under writers, joined as the hub joins them, against a model of the binlog. */
export function visibilityTests(servers: readonly ServerUnderTest[], chunks: number): void {
  describe.each(servers)('$what', ({ version, settings, durable }) => {
    it('gives chunks of which it is known what they show', { timeout: 180_000 }, async () => {
      await using server = await startMysql({ version, databases: ['shop'], settings, durable });
      await chunksUnderWriters(server, true, chunks);
      await chunksUnderWriters(server, false, chunks);
    });
  });
}
