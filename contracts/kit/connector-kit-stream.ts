import { describe, expect, it } from 'vitest';
import { Op } from '../op.ts';
import { ConnectorUnderTest, NEVER, NEW_LOG } from './connector-kit-common.ts';
import type { KitChange, KitSource } from './connector-kit.ts';

type MakeSource = () => Promise<KitSource>;

/** The stream as a stream: preparing, order, progress, back-pressure, abort. */
export function streamTests(makeSource: MakeSource): void {
  describe('stream', () => {
    preparing(makeSource);
    transactions(makeSource);
    flow(makeSource);
  });
}

function preparing(makeSource: MakeSource): void {
  it('prepares twice as once, and finds nothing wrong afterwards', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    await test.source.createTable('a');
    await test.connector.prepare(NEW_LOG, NEVER);
    await test.connector.prepare(NEW_LOG, NEVER);
    const findings = await test.connector.check(NEVER);
    expect(findings.filter((finding) => finding.severity === 'error')).toEqual([]);
    expect(findings.length).toBeGreaterThan(0);
  });

  it('names the tables with an identity of the source and no place in the log', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    await test.source.createTable('a');
    await test.source.createTable('b');
    const tables = await test.connector.tables(NEVER);
    expect(tables.map((table) => table.name).toSorted()).toEqual(['a', 'b']);
    for (const table of tables) {
      expect(table).toMatchObject({ tableId: 0, version: 0, keyKind: 'primary', key: [0] });
      expect(table.columns.map((column) => column.name)).toEqual(['id', 'v']);
    }
    expect(new Set(tables.map((table) => table.sourceTableId)).size).toBe(2);
  });
}

function transactions(makeSource: MakeSource): void {
  it('gives whole transactions in commit order, with growing positions', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    await test.source.createTable('a');
    await test.run();
    for (let id = 1; id <= 20; id++) await test.source.transact([insert('a', id), insert('a', id + 100), update('a', id)]);
    await test.caughtUp();
    const source = test.log.transactions.filter((transaction) => transaction.kind === 'source');
    const rows = test.rowRecords('a').map((record) => record.offset);
    expect(source.map(({ after, last }) => rows.filter((offset) => offset > after && offset <= last).length)).toEqual(Array.from({ length: 20 }, () => 3));
    expect(test.rowRecords('a').map((record) => String.fromCharCode(record.op)).join('')).toBe('ccu'.repeat(20));
    const { positions } = test.connector;
    for (const [index, position] of test.progress.entries()) {
      const before = test.progress[index - 1];
      if (before !== undefined) expect(positions.compare(before, position)).toBeLessThanOrEqual(0);
    }
    const xids = source.map((transaction) => transaction.xid);
    if (xids[0] !== 0) expect(xids).toEqual(xids.toSorted((a, b) => a - b));
    for (const transaction of source) expect(Math.abs(transaction.commitTime / 1000 - Date.now())).toBeLessThan(600_000);
  });

  it('gives a transaction larger than a batch in several, as one', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    await test.source.createTable('a');
    await test.run();
    const large = Array.from({ length: 300 }, (_, index) => insert('a', index + 1, 'x'.repeat(20_000)));
    await test.source.transact(large);
    await test.caughtUp();
    const [transaction] = test.log.transactions.filter((one) => one.kind === 'source' && one.last - one.after > 1);
    expect(transaction === undefined ? 0 : transaction.last - transaction.after).toBeGreaterThanOrEqual(300);
    expect(test.rows('a').size).toBe(300);
  });

  it('puts a schema before its first use, and tells every shape that rows have', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    await test.source.createTable('a');
    await test.run();
    await test.source.transact([insert('a', 1)]);
    await test.source.addColumn('a', 'extra');
    await test.source.transact([insert('a', 2)]);
    await test.caughtUp();
    const known = new Set<string>();
    for (const record of test.log.read(0)) {
      if (record.op === Op.schema) known.add(`${record.tableId}:${record.schemaVersion}`);
      else if (record.tableId !== 0 && record.op !== Op.control) expect(known).toContain(`${record.tableId}:${record.schemaVersion}`);
    }
    const versions = test.log.catalog().table(test.tableId('a'))?.versions ?? [];
    expect(versions.at(-1)?.schema.columns.map((column) => column.name)).toEqual(['id', 'v', 'extra']);
    expect(test.rows('a')).toEqual(await test.source.rows('a'));
  });

  it('emits the schema of an announced table once, in a transaction of the hub', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    await test.source.createTable('a');
    const stream = await test.run();
    stream.announce(await test.connector.tables(NEVER));
    await test.until(() => test.tableNames().length === 1, 'the schema of a table without rows');
    stream.announce(await test.connector.tables(NEVER));
    await test.source.transact([insert('a', 1)]);
    await test.until(() => test.log.read(0).some((record) => record.op === Op.create), 'the row');
    await test.caughtUp();
    expect(test.log.read(0).filter((record) => record.op === Op.schema)).toHaveLength(1);
    expect(test.log.transactions[0]?.kind).toBe('hub');
  });
}

function flow(makeSource: MakeSource): void {
  it('tells the progress of an idle source, sooner when asked', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    await test.source.createTable('a');
    await test.run();
    await test.caughtUp();
    const changes = (): number => test.log.read(0).filter((record) => record.op !== Op.schema).length;
    for (let round = 0; round < 3; round++) {
      await test.source.elsewhere();
      await test.caughtUp();
    }
    expect(changes()).toBe(0);
  });

  it('holds back while nobody asks for the next batch, and loses nothing', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    await test.source.createTable('a');
    await test.connector.prepare(NEW_LOG, NEVER);
    const abort = new AbortController();
    await using stream = test.connector.stream(NEW_LOG, abort.signal);
    const iterator = stream[Symbol.asyncIterator]();
    const first = iterator.next();
    for (let id = 1; id <= 40; id++) {
      await test.source.transact(Array.from({ length: 50 }, (_, index) => insert('a', id * 1000 + index, 'y'.repeat(10_000))));
    }
    const one = await first;
    if (one.done !== true) test.log.append(one.value);
    while (test.log.read(0).filter((record) => record.op === Op.create).length < 2000) {
      const next = await iterator.next();
      if (next.done === true) throw new Error('the stream has ended');
      test.log.append(next.value);
    }
    expect(test.rows('a')).toEqual(await test.source.rows('a'));
    abort.abort();
    await iterator.next();
  });

  it('ends when it is aborted, and can be opened again', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    await test.source.createTable('a');
    await test.run();
    await test.source.transact([insert('a', 1)]);
    await test.caughtUp();
    await test.stop();
    await test.source.transact([insert('a', 2)]);
    await test.run();
    await test.caughtUp();
    expect(test.rows('a')).toEqual(await test.source.rows('a'));
  });

  it('says how it is', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    await test.source.createTable('a');
    await test.run();
    await test.caughtUp();
    const status = await test.connector.status(NEVER);
    expect(status).toMatchObject({ connected: true, waitingFor: '' });
    expect(status.head).not.toBeNull();
    await test.stop();
    expect((await test.connector.status(NEVER)).connected).toBe(false);
  });
}

export function insert(table: string, id: number, v: string | null = `v${id}`): KitChange {
  return { op: 'insert', table, id, v };
}

export function update(table: string, id: number, v: string | null = `w${id}`): KitChange {
  return { op: 'update', table, id, v };
}
