import { describe, expect, it } from 'vitest';
import type { ChangeBatch } from '../change-batch.ts';
import { TidemarkError } from '../errors/error.ts';
import { buildKey } from '../key.ts';
import { Op } from '../op.ts';
import { readImage } from '../row-image.ts';
import type { TableSchema } from '../schema.ts';
import type { SourceSnapshot } from '../verify.ts';
import { ConnectorUnderTest, NEVER } from './connector-kit-common.ts';
import { insert, update } from './connector-kit-stream.ts';
import type { KitChange, KitSource } from './connector-kit.ts';
import { recordsOf, ReferenceLog, type ReferenceTransaction } from './reference-log.ts';
import { sumsAreOfRows } from './row-sums.ts';

type MakeSource = () => Promise<KitSource>;

/** Reading the source back, where the connector can: a snapshot shows exactly the transactions that it says it sees. */
export function snapshotTests(makeSource: MakeSource): void {
  describe('snapshot', () => {
    contents(makeSource);
    changes(makeSource);
  });
}

function contents(makeSource: MakeSource): void {
  it('shows the rows of a moment, whatever is written meanwhile', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    if (test.connector.snapshot === undefined) return;
    await test.source.createTable('a');
    await test.run();
    await test.source.transact(Array.from({ length: 300 }, (_, index) => insert('a', index + 1)));
    await test.source.transact([update('a', 1, null), { op: 'delete', table: 'a', id: 2 }, { op: 'rekey', table: 'a', id: 3, to: 1_003 }]);
    await test.caughtUp();
    const before = await test.source.rows('a');
    await using snapshot = await snapshotOf(test);
    await test.source.transact([insert('a', 2_000), update('a', 5), { op: 'delete', table: 'a', id: 6 }]);
    await test.caughtUp();
    expect(await rowsOf(snapshot, schemaOf(test))).toEqual(before);
    await sumsAreOfRows(snapshot, schemaOf(test), NEVER);
    expect(snapshot.passedBy(positionOf(test))).toBe(true);
    const seen = test.log.transactions.map((transaction) => snapshot.sees(entryOf(transaction)));
    expect(seen.at(-1)).toBe(false);
    expect(seen.slice(0, -1)).not.toContain(false);
  });

  it('finds rows by their keys', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    if (test.connector.snapshot === undefined) return;
    await test.source.createTable('a');
    await test.run();
    await test.source.transact(Array.from({ length: 20 }, (_, index) => insert('a', index + 1)));
    await test.caughtUp();
    await using snapshot = await snapshotOf(test);
    await test.source.transact([{ op: 'delete', table: 'a', id: 7 }, insert('a', 99)]);
    const keys = [7, 8, 99, 500].map((id) => buildKey([String(id)]));
    expect(asRows(await gathered(snapshot.find(schemaOf(test), keys, NEVER)))).toEqual(new Map([[7, 'v7'], [8, 'v8']]));
    expect(await gathered(snapshot.find(schemaOf(test), [], NEVER))).toEqual([]);
  });

  it('equals the log folded over the transactions that it sees, while others are under way', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    if (test.connector.snapshot === undefined) return;
    await test.source.createTable('a');
    await test.run();
    await test.source.transact([insert('a', 0)]);
    await test.caughtUp();
    let isOver = false;
    const writing = write(test.source, () => isOver);
    try {
      for (let round = 0; round < 5; round++) await compareOne(test);
    } finally {
      isOver = true;
      await writing;
    }
  });

  it('stays usable when a loop over its rows is left early, or aborted', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    if (test.connector.snapshot === undefined) return;
    await test.source.createTable('a');
    await test.run();
    await test.source.transact(Array.from({ length: 2_000 }, (_, index) => insert('a', index + 1, 'wide '.repeat(1_000))));
    await test.caughtUp();
    await using snapshot = await snapshotOf(test);
    for await (const batch of snapshot.rows(schemaOf(test), NEVER)) if (batch.count > 0) break;
    const abort = new AbortController();
    const aborted = (async () => {
      for await (const batch of snapshot.rows(schemaOf(test), abort.signal)) if (batch.count > 0) abort.abort();
    })();
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
    expect((await rowsOf(snapshot, schemaOf(test))).size).toBe(2_000);
  });
}

function changes(makeSource: MakeSource): void {
  it('refuses a table that was emptied or has gone since, as one to be tried again', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    if (test.connector.snapshot === undefined) return;
    await test.source.createTable('a');
    await test.source.createTable('b');
    await test.run();
    await test.source.transact([insert('a', 1), insert('b', 1)]);
    await test.caughtUp();
    await using snapshot = await snapshotOf(test);
    const [a, b] = [schemaOf(test, 'a'), schemaOf(test, 'b')];
    await test.source.transact([{ op: 'truncate', table: 'a' }]);
    await test.source.dropTable('b');
    await expect(rowsOf(snapshot, a)).rejects.toMatchObject({ code: 'VERIFY_TABLE', retry: 'auto' });
    await expect(rowsOf(snapshot, b)).rejects.toMatchObject({ code: 'VERIFY_TABLE', retry: 'auto' });
  });

  it('gives rows in a shape of before a column was added', async () => {
    await using test = await ConnectorUnderTest.make(makeSource);
    if (test.connector.snapshot === undefined) return;
    await test.source.createTable('a');
    await test.run();
    await test.source.transact([insert('a', 1), insert('a', 2, null)]);
    await test.caughtUp();
    const before = schemaOf(test);
    await test.source.addColumn('a', 'extra');
    await using snapshot = await snapshotOf(test);
    expect(await rowsOf(snapshot, before)).toEqual(new Map([[1, 'v1'], [2, null]]));
    const unknown = { ...before, columns: [...before.columns, { ...(before.columns[1] as TableSchema['columns'][number]), number: 99, name: 'unknown' }] };
    await expect(rowsOf(snapshot, unknown)).rejects.toMatchObject({ code: 'VERIFY_TABLE' });
  });
}

/** Transactions one after the other, a truncation now and then. */
async function write(source: KitSource, isOver: () => boolean): Promise<void> {
  for (let id = 1; !isOver(); id++) {
    const transaction: KitChange[] = [insert('a', id), update('a', id - 1, `then ${id}`)];
    if (id % 3 === 0) transaction.push({ op: 'delete', table: 'a', id: id - 2 });
    if (id % 100 === 0) transaction.unshift({ op: 'truncate', table: 'a' }, insert('a', id - 1), insert('a', id - 2));
    await source.transact(transaction);
  }
}

/** One snapshot; another one where the table was emptied meanwhile. */
async function compareOne(test: ConnectorUnderTest): Promise<void> {
  for (;;) {
    await using snapshot = await snapshotOf(test);
    const schema = schemaOf(test);
    try {
      const batches = await gathered(snapshot.rows(schema, NEVER));
      await test.until(() => snapshot.passedBy(positionOf(test)), 'the stream to pass the snapshot');
      expect(foldOf(batches)).toEqual(foldSeen(test.log, schema.tableId, snapshot));
      return;
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'VERIFY_TABLE' || error.retry !== 'auto') throw error;
    }
  }
}

function foldSeen(log: ReferenceLog, tableId: number, snapshot: SourceSnapshot): Map<string, string> {
  const seen = new ReferenceLog();
  for (const transaction of log.transactions) {
    if (snapshot.sees(entryOf(transaction))) seen.records.push(...log.records.slice(transaction.after, transaction.last));
  }
  return seen.fold(tableId, seen.records.length);
}

function foldOf(batches: readonly ChangeBatch[]): Map<string, string> {
  const rows = new Map<string, string>();
  for (const batch of batches) {
    for (const record of recordsOf(batch)) {
      expect(record).toMatchObject({ op: Op.read, before: '' });
      expect(rows.has(record.key)).toBe(false);
      rows.set(record.key, record.after);
    }
  }
  return rows;
}

function snapshotOf(test: ConnectorUnderTest): Promise<SourceSnapshot> {
  const { connector } = test;
  if (connector.snapshot === undefined) throw new Error('the connector has no snapshots');
  return connector.snapshot(test.log.catalog().tables().flatMap(({ versions }) => versions.at(-1)?.schema ?? []), NEVER);
}

function schemaOf(test: ConnectorUnderTest, table = 'a'): TableSchema {
  const schema = test.log.catalog().schema(test.tableId(table));
  if (schema === undefined) throw new Error(`the log has no shape of ${table}`);
  return schema;
}

function positionOf(test: ConnectorUnderTest): Uint8Array {
  return test.start.position ?? new Uint8Array(0);
}

function entryOf({ kind, xid, commitTime, origin, position }: ReferenceTransaction) {
  return { kind, xid, commitTime, origin, position: Buffer.from(position, 'hex'), first: 0, count: 0, begins: true, commits: true };
}

async function gathered(batches: AsyncIterable<ChangeBatch>): Promise<ChangeBatch[]> {
  const all: ChangeBatch[] = [];
  for await (const batch of batches) all.push(batch);
  return all;
}

async function rowsOf(snapshot: SourceSnapshot, schema: TableSchema): Promise<Map<number, string | null>> {
  return asRows(await gathered(snapshot.rows(schema, NEVER)));
}

/** As `KitSource.rows` gives them. */
function asRows(batches: readonly ChangeBatch[]): Map<number, string | null> {
  const rows = new Map<number, string | null>();
  for (const [, image] of foldOf(batches)) {
    const [id, v] = readImage(Buffer.from(image, 'hex'));
    rows.set(Number(id), typeof v === 'string' ? v : null);
  }
  return rows;
}
