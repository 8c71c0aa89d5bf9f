import { describe, expect, test } from 'vitest';
import type { BinlogHandler } from '../../../../connectors/mysql/binlog/binlog-handler.ts';
import { BinlogReader } from '../../../../connectors/mysql/binlog/binlog-reader.ts';
import { type RowRoute, RowWriter } from '../../../../connectors/mysql/binlog/row-writer.ts';
import type { ColumnDecoder } from '../../../../connectors/mysql/values/column-decoder.ts';
import { BatchBuilder, type ChangeBatch } from '../../../../contracts/change-batch.ts';
import { Flag, Op, opLetter } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { type CellValue, PLACEHOLDER, readImage } from '../../../../contracts/row-image.ts';
import { eventSpans, type GoldenLog, goldenLog, goldenLogs } from '../golden/golden.ts';
import { ORDER_COLUMNS, ordersRoute, rawRoute } from './orders-route.ts';

const ignore = (): void => undefined;

function readerOf(log: GoldenLog, rows: BinlogHandler['rows']): { reader: BinlogReader } {
  const handler: BinlogHandler = {
    formatDescription: ignore, rotate: ignore, previousGtids: ignore, gtidList: ignore, gtid: ignore, mariadbGtid: ignore, query: ignore,
    loadData: ignore, statementContext: ignore, rowsStatement: ignore, tableMap: ignore, xid: ignore, xaPrepare: ignore, heartbeat: ignore,
    incident: ignore, rowsTooLarge: ignore, rows,
  };
  return { reader: new BinlogReader(handler, { file: log.file, maxEventBytes: 1 << 20 }) };
}

/** The rows of `orders` as one batch. */
function batchOf(log: GoldenLog, route: RowRoute): ChangeBatch {
  const builder = new BatchBuilder();
  const writer = new RowWriter(builder);
  builder.begin('source', 0, 0);
  const { reader } = readerOf(log, (rows, map) => {
    if (map.table === 'orders') while (rows.next()) writer.write(rows, route);
  });
  for (const { start, end } of eventSpans(log.bytes)) reader.event(log.bytes, start, end);
  return builder.take();
}

interface Change {
  readonly op: string;
  readonly flags: number;
  readonly key: string;
  readonly before: readonly CellValue[] | null;
  readonly after: readonly CellValue[] | null;
}

function changesOf(batch: ChangeBatch): Change[] {
  const view = new RecordView().reset(batch.records);
  const changes: Change[] = [];
  while (view.next()) {
    changes.push({
      op: opLetter(view.op),
      flags: view.flags,
      key: view.key().toString('utf8', 4),
      before: view.hasBefore ? readImage(view.before()) : null,
      after: view.hasAfter ? readImage(view.after()) : null,
    });
  }
  return changes;
}

/** Folded by key as a sink does; placeholders are filled from the row before. */
function fold(changes: readonly Change[]): Map<string, readonly CellValue[]> {
  const rows = new Map<string, readonly CellValue[]>();
  let deleted: readonly CellValue[] = [];
  for (const { op, key, after } of changes) {
    const old = rows.get(key) ?? deleted;
    if (op === 'd') {
      deleted = old;
      rows.delete(key);
    }
    if (after !== null) rows.set(key, after.map((cell, index) => (cell === PLACEHOLDER && index < old.length ? (old[index] as CellValue) : cell)));
  }
  return rows;
}

const logs = goldenLogs().filter(({ tables }) => tables['orders'] !== undefined);

describe.each(logs.map((log) => [`${log.version} ${log.scenario}`, log] as const))('rows of %s', (_name, log) => {
  test.each([[false, false], [true, false], [false, true], [true, true]])('give the table that the server has (reversed %s, old rows %s)', (reversed, keepBefore) => {
    const rows = fold(changesOf(batchOf(log, ordersRoute({ reversed, keepBefore }))));
    const columns = reversed ? [...ORDER_COLUMNS].reverse() : ORDER_COLUMNS;
    const table = [...rows.values()].map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index]])));
    expect(table.toSorted((a, b) => Number(a['id']) - Number(b['id']))).toEqual(log.tables['orders']);
  });
});

describe('records', () => {
  const whole = goldenLog('mysql-9', 'rows');
  const minimal = goldenLog('mysql-9', 'minimal');

  test('an update that changes the key is a delete and a create, marked as halves of one change', () => {
    const halves = changesOf(batchOf(whole, ordersRoute())).filter(({ flags }) => (flags & Flag.keyChange) !== 0);
    expect(halves.map(({ op, key }) => [op, key])).toEqual([[opLetter(Op.delete), '2'], [opLetter(Op.create), '3']]);
  });

  test('old rows are there where they are whole and asked for', () => {
    for (const { op, before } of changesOf(batchOf(whole, ordersRoute({ keepBefore: true })))) expect(before === null).toBe(op === 'c');
    for (const { before } of changesOf(batchOf(whole, ordersRoute()))) expect(before).toBeNull();
    for (const { before } of changesOf(batchOf(minimal, ordersRoute({ keepBefore: true })))) expect(before).toBeNull();
  });

  test('what an event leaves out is a placeholder, and the record is incomplete', () => {
    const updates = changesOf(batchOf(minimal, ordersRoute())).filter(({ op }) => op === 'u');
    expect(updates).toHaveLength(3);
    for (const { flags, after } of updates) {
      expect(flags).toBe(Flag.incomplete | Flag.wide);
      expect(after).toContain(PLACEHOLDER);
    }
  });

  test('every row of a wide table is marked', () => {
    for (const { op, flags } of changesOf(batchOf(whole, ordersRoute({ isWide: true })))) expect((flags & Flag.wide) !== 0).toBe(op !== 'd');
  });

  test('a table without key: an update is the old row away and the new one there', () => {
    const route = { ...ordersRoute(), key: [] };
    const changes = changesOf(batchOf(whole, route));
    expect(changes.map(({ op }) => op).join('')).toBe('cccdcdcdcdcd');
    for (const { op, before } of changes) expect(before === null).toBe(op === 'c');
    expect(() => batchOf(minimal, route)).toThrow(expect.objectContaining({ code: 'MYSQL_PARTIAL_ROW' }));
  });

  test('a row above the limit is refused and leaves nothing behind', () => {
    expect(() => batchOf(whole, ordersRoute({ maxRowBytes: 400 }))).toThrow(
      expect.objectContaining({ code: 'MYSQL_ROW_TOO_LARGE', where: { position: `${whole.file}:1129` } }),
    );
  });

  test('a column that an insert leaves out has its default; without one, a placeholder', () => {
    const brief = (route: RowRoute): Change | undefined => changesOf(batchOf(minimal, route)).findLast(({ key }) => key === '9');
    const state = ORDER_COLUMNS.indexOf('state');
    expect(brief(ordersRoute())).toMatchObject({ op: 'c', flags: 0 });
    expect(brief(ordersRoute())?.after?.[state]).toBe('new');
    const route = ordersRoute();
    const without = brief({ ...route, defaults: route.defaults.map(() => null) });
    expect(without?.flags).toBe(Flag.incomplete | Flag.wide);
    expect(without?.after?.[state]).toBe(PLACEHOLDER);
  });

  test('a decoder that ends elsewhere than its value is a fault of ours, and nothing is written', () => {
    const route = ordersRoute();
    const decoders = route.decoders.map((decoder) => ({ decode: (...given: Parameters<typeof decoder.decode>) => decoder.decode(...given) + 1 }));
    expect(() => batchOf(whole, { ...route, decoders })).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
  });
});

describe('partial JSON', () => {
  const log = goldenLog('mysql-9', 'partial-json');

  /** What the decoder of a JSON column is given, in hexadecimal. */
  function patches(): { bytes: string; old: string }[] {
    const given: { bytes: string; old: string }[] = [];
    const builder = new BatchBuilder();
    const writer = new RowWriter(builder);
    builder.begin('source', 0, 0);
    const { reader } = readerOf(log, (rows, map) => {
      const route = rawRoute(map);
      const decoders = route.decoders.map((decoder): ColumnDecoder => ({
        ...decoder,
        patch(bytes, at, end, old, oldAt, oldEnd, out) {
          given.push({ bytes: bytes.toString('hex', at, end), old: old.toString('hex', oldAt, oldEnd) });
          out.null();
        },
      }));
      while (rows.next()) writer.write(rows, { ...route, decoders });
    });
    for (const { start, end } of eventSpans(log.bytes)) reader.event(log.bytes, start, end);
    return given;
  }

  test('diffs come with the old value, both without their lengths', () => {
    const given = patches();
    // Three updates of two JSON columns each; where nothing changed there is no diff.
    expect(given.map(({ bytes }) => bytes.length > 0)).toEqual([true, false, true, true, false, false]);
    expect(Buffer.from(given[0]?.bytes ?? '', 'hex').toString('latin1')).toContain('$.b[1]');
    // An object of two members, as the server stores it.
    expect(given[0]?.old).toMatch(/^000200/);
  });

  test('a column whose decoder knows no diffs stops its table', () => {
    const builder = new BatchBuilder();
    const writer = new RowWriter(builder);
    builder.begin('source', 0, 0);
    const { reader } = readerOf(log, (rows, map) => {
      const route = rawRoute(map);
      const decoders = route.decoders.map((decoder): ColumnDecoder => ({ decode: (...given) => decoder.decode(...given) }));
      while (rows.next()) writer.write(rows, { ...route, decoders });
    });
    expect(() => {
      for (const { start, end } of eventSpans(log.bytes)) reader.event(log.bytes, start, end);
    }).toThrow(expect.objectContaining({ code: 'MYSQL_PARTIAL_ROW' }));
  });
});
