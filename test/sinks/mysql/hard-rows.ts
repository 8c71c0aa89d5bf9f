/** Rows that are hard to find again: of tables without a key, and by keys that are no whole numbers. */
import { deepStrictEqual, ok } from 'node:assert/strict';
import type { ModelCell, ModelColumn, ModelRow, ModelTable } from '../../../contracts/kit/sink-model.ts';
import { SinkModel } from '../../../contracts/kit/sink-model.ts';
import type { SinkSnapshot } from '../../../contracts/verify.ts';
import type { MysqlSink } from '../../../sinks/mysql/sink.ts';
import type { MysqlServer } from '../../fixtures/mysql.ts';
import { seededRandom } from '../../fixtures/runtime.ts';
import { type ReplicaPlace, replicaPlace } from './replica-place.ts';

const { signal } = new AbortController();

const BAG: readonly ModelColumn[] = [
  { name: 'a', type: { kind: 'text', length: 40, fixed: false }, nativeType: 'varchar(40)' },
  { name: 'b', type: { kind: 'int32' }, nativeType: 'int' },
  { name: 'c', type: { kind: 'decimal', precision: 10, scale: 2 }, nativeType: 'decimal(10,2)' },
  { name: 'd', type: { kind: 'bytes' }, nativeType: 'blob' },
  { name: 'e', type: { kind: 'bit', length: 9, varying: false }, nativeType: 'bit(9)' },
];
const BAG_VALUES: readonly (readonly ModelCell[])[] = [[null, '', 'a', 'A', 'a ', 'ä', 'x'], [null, '0', '1', '-1'], [null, '1.50', '-0.10'], [null, Buffer.alloc(0), Buffer.from([0, 255])], [null, '111111111', '000000000']];

/** Rows are added to a bag, taken out and written anew at random, and after each batch it is what it should be. */
export async function bagAtRandom(server: MysqlServer, load: string, seed: number): Promise<void> {
  await using place = await replicaPlace(server, { load });
  await using sink = place.sink();
  const random = seededRandom(seed);
  const whole = (below: number): number => Math.floor(random.unit() * below);
  const model = new SinkModel();
  const table = model.createTable('kit', 'bag', BAG, []);
  const anyRow = (): ModelRow => BAG_VALUES.map((values) => values[whole(values.length)] ?? null);
  const many = Array.from({ length: 5 }, anyRow);
  await sink.open(model.start(), signal);
  for (let round = 0; round < 6; round++) {
    for (let count = 40 + whole(80); count > 0; count--) model.insert(table, random.unit() < 0.5 ? anyRow() : (many[whole(many.length)] ?? []));
    for (let count = round === 0 ? 0 : whole(100); count > 0 && table.bag.length > 0; count--) {
      const row = table.bag[whole(table.bag.length)] ?? [];
      if (random.unit() < 0.7) model.delete(table, row);
      else model.update(table, row, anyRow());
    }
    await applied(sink, model);
    await expectSame(place, table, `seed ${seed}, round ${round}`);
  }
}

/** How many rows the server reads to take `gone` rows out of a bag of `rows`. */
export async function readsOfDeletes(server: MysqlServer, rows: number, gone: number): Promise<number> {
  await using place = await replicaPlace(server);
  await using sink = place.sink();
  const model = new SinkModel();
  const table = model.createTable('kit', 'bag', BAG, []);
  const row = (n: number): ModelRow => [`row ${n}`, String(n), '1.00', null, null];
  for (let n = 0; n < rows; n++) model.insert(table, row(n));
  await sink.open(model.start(), signal);
  await applied(sink, model);
  for (let n = 0; n < gone; n++) model.delete(table, row(n * 3));
  const reads = async (): Promise<number> => {
    const found = await place.reader.query("SHOW GLOBAL STATUS LIKE 'Handler_read_rnd_next'");
    return Number(found[0]?.['Value']);
  };
  const before = await reads();
  await applied(sink, model);
  const after = await reads();
  await expectSame(place, table, 'after the deletes');
  return after - before;
}

const KEYS: readonly (readonly [column: ModelColumn, values: readonly string[]])[] = [
  [{ name: 'id', type: { kind: 'float32' }, nativeType: 'float', nullable: false }, ['0.1', '-0.1', '1', '16777216', '3.4028235e+38', '1.1754944e-38', '123456.79', '0', '3.3333333']],
  [{ name: 'id', type: { kind: 'float64' }, nativeType: 'double', nullable: false }, ['0.1', '-0.1', '1', '0.30000000000000004', '1.7976931348623157e+308', '2.2250738585072014e-308', '9007199254740993', '0', '3.3333333333333335', '1e+22']],
  [{ name: 'id', type: { kind: 'bit', length: 64, varying: false }, nativeType: 'bit(64)', nullable: false }, ['1'.repeat(64), '0'.repeat(64), `1${'0'.repeat(63)}`, `0${'1'.repeat(63)}`, `${'0'.repeat(63)}1`]],
  [{ name: 'id', type: { kind: 'bit', length: 9, varying: false }, nativeType: 'bit(9)', nullable: false }, ['111111111', '000000000', '100000001']],
  [{ name: 'id', type: { kind: 'decimal', precision: 20, scale: 4 }, nativeType: 'decimal(20,4)', nullable: false }, ['0.1000', '-0.1000', '9999999999999999.9999', '0.0000']],
  [{ name: 'id', type: { kind: 'bytes' }, nativeType: 'varbinary(20)', nullable: false }, ['\\x', '\\x00', '\\xff', '\\x41', '\\x61', '\\x4100']],
  [{ name: 'id', type: { kind: 'uint64' }, nativeType: 'bigint unsigned', nullable: false }, ['18446744073709551615', '0', '9223372036854775808', '9223372036854775807']],
  [{ name: 'id', type: { kind: 'timestamp', digits: 6 }, nativeType: 'datetime(6)', nullable: false }, ['2026-01-01 00:00:00', '2026-01-01 00:00:00.000001', '0000-00-00 00:00:00', '9999-12-31 23:59:59.999999']],
  [{ name: 'id', type: { kind: 'text', length: 20, fixed: false }, nativeType: 'varchar(20)', nullable: false }, ['', 'a', 'A', 'a ', 'á', 'ss', 'ß', '\u{1f600}']],
];

/** A table with keys of one kind, and its rows by their keys. */
interface Keyed {
  readonly table: ModelTable;
  readonly values: readonly string[];
  readonly row: (value: string, text: string) => ModelRow;
}

function keyedTable(model: SinkModel, [column, values]: (typeof KEYS)[number], index: number, prefix: number): Keyed {
  const more: readonly ModelColumn[] = prefix === 0 ? [] : [{ name: 'part', type: { kind: 'int32' }, nativeType: 'int', nullable: false }];
  const columns: readonly ModelColumn[] = [column, ...more, { name: 'v', type: { kind: 'text', length: null, fixed: false }, nativeType: 'text' }];
  const table = model.createTable('kit', `keyed_${index}`, columns, ['id', ...more.map(({ name }) => name)]);
  const cell = (value: string): ModelCell => (column.type.kind === 'bytes' ? Buffer.from(value.slice(2), 'hex') : value);
  return { table, values, row: (value, text) => [cell(value), ...more.map(() => '7'), text] };
}

/** Rows with such keys, alone and as the first part of a key, are changed, deleted and found again. */
export async function hardKeys(server: MysqlServer, load: string, prefix: number): Promise<void> {
  await using place = await replicaPlace(server, { load });
  await using sink = place.sink();
  const model = new SinkModel();
  const tables = KEYS.map((keys, index) => keyedTable(model, keys, index, prefix));
  await sink.open(model.start(), signal);
  const phase = async (when: string, change: (keyed: Keyed) => void): Promise<void> => {
    tables.forEach(change);
    await applied(sink, model);
    await using snapshot = await sink.snapshot(model.start(), signal);
    for (const { table } of tables) await expectKeys(place, snapshot, table, `${table.schema.columns[0]?.nativeType}: ${when}`);
  };
  await phase('written', ({ table, values, row }) => values.forEach((value) => model.insert(table, row(value, 'new'))));
  await phase('changed', ({ table, values, row }) => values.forEach((value) => model.update(table, row(value, 'new'), row(value, 'changed'))));
  await phase('some deleted', ({ table, values, row }) => values.filter((_, n) => n % 2 === 0).forEach((value) => model.delete(table, row(value, 'changed'))));
}

async function applied(sink: MysqlSink, model: SinkModel): Promise<void> {
  const { accepted, durable } = sink.apply(model.batch(), signal);
  await Promise.all([accepted, durable]);
}

async function expectSame(place: ReplicaPlace, table: ModelTable, when: string): Promise<void> {
  const [found] = await place.reader.query(`SELECT COUNT(*) AS n FROM ${place.database}.${table.schema.name}`);
  deepStrictEqual(Number(found?.['n']), table.expected().length, `${when}: rows`);
  const rows = await place.reader.query(`SELECT a, b, c, HEX(d) AS d, LPAD(BIN(e + 0), 9, '0') AS e FROM ${place.database}.${table.schema.name}`);
  const printed = (cell: ModelCell | undefined): string | null => (typeof cell === 'string' ? cell : (cell?.toString('hex').toUpperCase() ?? null));
  deepStrictEqual(
    rows.map(({ a, b, c, d, e }) => JSON.stringify([a, b, c, d, e])).toSorted(),
    table.expected().map((row) => JSON.stringify(row.map(printed))).toSorted(),
    when,
  );
}

/** Read back as verify does: each row by its key. */
async function expectKeys(place: ReplicaPlace, snapshot: SinkSnapshot, table: ModelTable, when: string): Promise<void> {
  const expected = table.expected();
  const texts = await place.reader.query(`SELECT v FROM ${place.database}.${table.schema.name}`);
  deepStrictEqual(texts.map(({ v }) => v ?? '').toSorted(), expected.map((row) => String(row.at(-1))).toSorted(), when);
  let found = 0;
  for await (const batch of snapshot.find(table.schema, expected.map((row) => table.keyOf(row)), signal)) found += batch.count;
  deepStrictEqual(found, expected.length, `${when}: found by their keys`);
  ok(expected.length > 0);
}
