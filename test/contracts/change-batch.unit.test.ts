import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BatchBuilder, type ChangeBatch } from '../../contracts/change-batch.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { Op } from '../../contracts/op.ts';
import { RecordView } from '../../contracts/record.ts';

interface Plain {
  op: number;
  flags: number;
  tableId: number;
  schemaVersion: number;
  key: string;
  before: string;
  after: string;
}

const hex = fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const plain: fc.Arbitrary<Plain> = fc.record({
  op: fc.constantFrom(...Object.values(Op)),
  flags: fc.integer({ min: 0, max: 255 }),
  tableId: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  schemaVersion: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  key: hex,
  before: hex,
  after: hex,
});

function add(builder: BatchBuilder, record: Plain): void {
  const [key, before, after] = [record.key, record.before, record.after].map((text) => Buffer.from(text, 'hex')) as [Buffer, Buffer, Buffer];
  builder.record(record.op, record.flags, record.tableId, record.schemaVersion, key, before, after);
}

function readAll(batch: ChangeBatch): Plain[] {
  const view = new RecordView().reset(batch.records);
  const records: Plain[] = [];
  while (view.next()) {
    const { op, flags, tableId, schemaVersion } = view;
    const [key, before, after] = [view.key(), view.before(), view.after()].map((bytes) => bytes.toString('hex')) as [string, string, string];
    records.push({ op, flags, tableId, schemaVersion, key, before, after });
  }
  expect(records).toHaveLength(batch.count);
  return records;
}

const position = (n: number) => Buffer.from([n]);

describe('a batch', () => {
  it('gives back the records that were put in, whatever their size', () => {
    fc.assert(
      fc.property(fc.array(plain, { maxLength: 40 }), (records) => {
        const builder = new BatchBuilder(64);
        builder.begin('source', 7, 1_000_000);
        for (const record of records) add(builder, record);
        builder.commit(position(1));
        expect(readAll(builder.take())).toEqual(records);
      }),
    );
  });

  it('carries a transaction on into the next batch: one begins, one commits, none is empty in between', () => {
    fc.assert(
      fc.property(fc.array(fc.array(plain, { maxLength: 5 }), { minLength: 1, maxLength: 8 }), fc.nat({ max: 9 }), (transactions, every) => {
        const builder = new BatchBuilder(64);
        const batches: ChangeBatch[] = [];
        transactions.forEach((records, xid) => {
          builder.begin('source', xid + 1, xid);
          records.forEach((record, index) => {
            add(builder, record);
            if (index === every) batches.push(builder.take());
          });
          builder.commit(position(xid));
        });
        batches.push(builder.take());

        const entries = batches.flatMap((batch) => batch.transactions);
        for (let xid = 1; xid <= transactions.length; xid++) {
          const own = entries.filter((entry) => entry.xid === xid);
          expect(own.filter((entry) => entry.begins)).toEqual([own[0]]);
          expect(own.filter((entry) => entry.commits)).toEqual([own.at(-1)]);
          expect(own.reduce((sum, entry) => sum + entry.count, 0)).toBe(transactions[xid - 1]?.length);
        }
        for (const batch of batches) {
          expect(batch.progress === null).toBe(batch.endsOpen);
          const covered = batch.transactions.reduce((sum, entry) => sum + entry.count, 0);
          expect(covered).toBe(batch.count);
        }
      }),
    );
  });

  it('keeps what was taken when the builder goes on', () => {
    const builder = new BatchBuilder(64);
    builder.begin('source', 1, 0);
    builder.record(Op.create, 0, 1, 1, Buffer.from('key'), Buffer.alloc(0), Buffer.from('after'));
    const first = builder.take();
    builder.record(Op.create, 0, 1, 1, Buffer.from('KEY'), Buffer.alloc(0), Buffer.from('AFTER'));
    const view = new RecordView().reset(first.records);
    expect(view.next()).toBe(true);
    expect(view.key().toString()).toBe('key');
  });

  it('refuses records, commits and keepalives in the wrong place', () => {
    const builder = new BatchBuilder();
    expect(() => builder.record(Op.create, 0, 1, 1, Buffer.alloc(0), Buffer.alloc(0), Buffer.alloc(0))).toThrow(TidemarkError);
    expect(() => builder.commit(position(1))).toThrow(TidemarkError);
    builder.begin('source', 1, 0);
    expect(() => builder.begin('source', 2, 0)).toThrow(TidemarkError);
    expect(() => builder.keepalive(position(1))).toThrow(TidemarkError);
  });
});

describe('taking back', () => {
  const none = Buffer.alloc(0);
  const add = (builder: BatchBuilder, byte: number): void => builder.record(Op.create, 0, 1, 1, Buffer.from([byte]), none, none);

  it('drops what an open transaction has added since a mark', () => {
    const builder = new BatchBuilder(64);
    builder.begin('source', 0, 1);
    add(builder, 1);
    const mark = builder.mark();
    for (let byte = 2; byte < 9; byte++) add(builder, byte);
    builder.rewind(mark);
    add(builder, 9);
    builder.commit(Buffer.from('p'));
    const batch = builder.take();
    const view = new RecordView();
    const keys: number[] = [];
    for (view.reset(batch.records); view.next(); ) keys.push(view.key()[0] ?? 0);
    expect(keys).toEqual([1, 9]);
    expect(batch.transactions).toMatchObject([{ first: 0, count: 2, begins: true, commits: true }]);
  });

  it('gives up a transaction as if it had not begun, and no other', () => {
    const builder = new BatchBuilder();
    builder.begin('source', 0, 1);
    add(builder, 1);
    builder.commit(Buffer.from('p'));
    const mark = builder.mark();
    builder.begin('source', 0, 2);
    add(builder, 2);
    builder.abandon(mark);
    builder.keepalive(Buffer.from('q'));
    builder.begin('source', 0, 3);
    const later = builder.mark();
    add(builder, 3);
    const batch = builder.take();
    expect(batch.transactions).toMatchObject([{ count: 1, commits: true }, { first: 1, count: 1, commits: false, commitTime: 3 }]);
    // A part of it was handed on.
    expect(() => builder.abandon(later)).toThrow('given up');
  });
});

describe('reading records from bytes', () => {
  it('gives records or a typed error for mutated bytes', () => {
    fc.assert(
      fc.property(fc.array(plain, { minLength: 1, maxLength: 6 }), fc.nat(), fc.integer({ min: 0, max: 255 }), (records, where, byte) => {
        const builder = new BatchBuilder(64);
        builder.begin('source', 1, 0);
        for (const record of records) add(builder, record);
        const bytes = Buffer.from(builder.take().records);
        bytes[where % bytes.length] = byte;
        const view = new RecordView().reset(bytes);
        let read = 0;
        try {
          while (view.next()) {
            expect(view.afterEnd).toBeLessThanOrEqual(bytes.length);
            read++;
          }
          expect(read).toBeLessThanOrEqual(bytes.length);
        } catch (error) {
          expect(error).toHaveProperty('code', 'RECORD_CORRUPT');
        }
      }),
    );
  });
});
