/** Edge values of MySQL and MariaDB at a Postgres replica. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ModelCell, ModelColumn, ModelTable } from '../../../contracts/kit/sink-model.ts';
import type { SinkConfig } from '../../../contracts/config.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { SinkBatch, SinkStep } from '../../../contracts/sink.ts';
import { mysqlLogicalType, mysqlType } from '../../../contracts/types/mysql-types.ts';
import { fittedColumn, NO_EXTENSIONS } from '../../../sinks/postgres/mysql-columns.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { type MysqlVersion, startMysql } from '../../fixtures/mysql.ts';
import { type AcrossColumn, type CellOf } from '../mysql/types/replica.ts';
import { loggedColumns } from '../mysql/types/from-mysql.ts';
import { ReplicaStand } from './replica-stand.ts';
import { cellsOf, keysOf, logRows } from './snapshot-rows.ts';

const MINUTE = 60_000;
const ID: ModelColumn = { name: 'id', type: { kind: 'int32' }, nativeType: 'int', nullable: false };

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server?.[Symbol.asyncDispose]());

const isMysql = (schema: TableSchema): TableSchema => ({ ...schema, dialect: 'mysql' });

/** The batch as the log of a MySQL source gives it. */
function fromMysql(batch: SinkBatch): SinkBatch {
  const steps = batch.steps.map((step): SinkStep => {
    if (step.kind === 'rows') return { ...step, tables: step.tables.map((table) => ({ ...table, schema: isMysql(table.schema) })) };
    return step.kind === 'schema' ? { ...step, before: step.before === null ? null : isMysql(step.before), after: isMysql(step.after) } : { ...step, table: isMysql(step.table) };
  });
  return { ...batch, steps };
}

function isBeyond({ type }: AcrossColumn, value: CellOf): boolean {
  const text = value.toString();
  if (type.kind === 'date' || type.kind === 'timestamp' || type.kind === 'timestamptz') return /^0000|-00/.test(text);
  if (type.kind === 'time') return text.startsWith('-') || Number(text.split(':')[0]) >= 24;
  return typeof value === 'string' && type.kind === 'text' && value.includes('\0');
}

function fill(stand: ReplicaStand, columns: readonly AcrossColumn[], kept: (column: AcrossColumn, value: CellOf) => boolean): ModelTable {
  const values = columns.map((column) => column.values.filter((value) => kept(column, value)));
  const table = stand.model.createTable('shop', 'typed', [ID, ...columns.map(({ type, nativeType }, index) => ({ name: `c${index}`, type, nativeType }))], ['id']);
  const rows = Math.max(...values.map((list) => list.length));
  for (let id = 0; id < rows; id++) stand.model.insert(table, [String(id), ...values.map((list): ModelCell => list[id] ?? null)]);
  return table;
}

async function sameThroughVerify(stand: ReplicaStand, table: ModelTable): Promise<void> {
  const schema = isMysql(table.schema);
  await using snapshot = await stand.sink.snapshot(stand.model.start(), stand.signal);
  const expected = await cellsOf([await snapshot.expected(schema, logRows(table), stand.signal)]);
  // MariaDB prints some addresses in its own way.
  const others = (cells: ReadonlyMap<string, readonly unknown[]>) => [...cells.values()].map((row) => row.filter((_, index) => table.schema.columns[index]?.type.kind !== 'inet'));
  expect(others(expected)).toEqual(others(await cellsOf([logRows(table)])));
  expect(await cellsOf(snapshot.rows(schema, stand.signal))).toEqual(expected);
  expect(await cellsOf(snapshot.find(schema, keysOf(logRows(table)), stand.signal))).toEqual(expected);
}

test.each<MysqlVersion>(['mysql-9', 'mariadb-11.8'])('values of %s at Postgres: each comes back byte for byte, or is beyond its column, and fits as text', async (version) => {
  await using source = await startMysql({ version });
  const columns = await loggedColumns(source);
  for (const unfit of ['by-type', 'text'] as const) {
    await using stand = await ReplicaStand.open(server, [], { options: { unfit } });
    const isKept = (column: AcrossColumn, value: CellOf): boolean => (unfit === 'text' && column.type.kind !== 'text' ? true : !isBeyond(column, value));
    const table = fill(stand, columns, isKept);
    await stand.send(fromMysql(stand.model.batch()));
    await sameThroughVerify(stand, table);
    for (const row of table.expected().slice(0, 5)) stand.model.update(table, row, [row[0] ?? null, ...row.slice(1).toReversed().map(() => null)]);
    for (const row of table.expected().slice(5, 10)) stand.model.delete(table, row);
    await stand.send(fromMysql(stand.model.batch()));
    await sameThroughVerify(stand, table);
    const { rows } = await stand.place.reader.query<{ types: string }>("SELECT string_agg(DISTINCT format_type(atttypid, atttypmod), ', ') AS types FROM pg_attribute WHERE attrelid = 'shop.typed'::regclass AND attnum > 0");
    expect(rows[0]?.types).toContain('numeric(20,0)');
    expect(rows[0]?.types?.includes('time')).toBe(unfit === 'by-type');
  }
}, 5 * MINUTE);

const BEYOND: readonly (readonly [columnType: string, value: string])[] = [
  ['date', '0000-00-00'], ['date', '2026-00-10'], ['date', '2026-02-31'], ['date', '0000-01-01'], ['datetime(6)', '0000-00-00 00:00:00'], ['datetime', '2026-10-00 00:00:00'],
  ['timestamp', '0000-00-00 00:00:00+00'], ['time', '-12:30:00'], ['time(6)', '-00:00:00.000001'], ['time', '24:00:01'], ['time', '838:59:59'], ['varchar(10)', 'a\0b'],
];

test('a value beyond its column is refused, never changed, whichever way it is written', async () => {
  await using stand = await ReplicaStand.open(server);
  for (const [index, [columnType, value]] of BEYOND.entries()) {
    // Many rows go in by COPY, few by statements.
    const many = index % 2 === 0 ? 1 : 300;
    const type = mysqlType({ columnType, charset: columnType.startsWith('varchar') ? 'utf8mb4' : null, collation: null });
    const name = `beyond_${index}`;
    const table = stand.model.createTable('shop', name, [ID, { name: 'v', type: mysqlLogicalType(type, `shop.${name}.v`), nativeType: type.text }], ['id']);
    await stand.send(fromMysql(stand.model.batch()));
    for (let id = 0; id < many; id++) stand.model.insert(table, [String(id), id === many - 1 ? value : null]);
    const batch = stand.model.batch();
    await expect(stand.send(fromMysql(batch)), `${columnType} ${JSON.stringify(value)}`).rejects.toMatchObject({ code: 'SINK_DATA', where: { table: `shop.${name}` } });
    await stand.reopen();
    expect(await stand.sql(`SELECT count(*) FROM shop.${name}`)).toEqual([['0']]);
    await stand.send({ ...batch, steps: [] });
  }
}, 2 * MINUTE);

test('a default that the column cannot hold is left out', () => {
  const column = (columnType: string, constantDefault: string) => {
    const type = mysqlType({ columnType, charset: null, collation: null });
    const source = { number: 1, name: 'v', type: mysqlLogicalType(type, 'a.b.v'), nativeType: type.text, nullable: true, constantDefault, fill: null, generated: 'no', identity: 'no' } as const;
    return fittedColumn(source, 'by-type', NO_EXTENSIONS).column.constantDefault;
  };
  expect(column('date', '0000-00-00')).toBeNull();
  expect(column('date', '2026-11-21')).toBe('2026-11-21');
  expect(column('time', '-01:00:00')).toBeNull();
  expect(column('time', '01:00:00')).toBe('01:00:00');
  expect(column("enum('a','b')", 'a')).toBe('a');
});

test('where `unfit` is error, a type that the replica has none of is refused with what would bring it', async () => {
  const options: Partial<SinkConfig> = { options: { unfit: 'error' } };
  await using stand = await ReplicaStand.open(server, [], options);
  stand.model.createTable('shop', 'placed', [ID, { name: 'v', type: { kind: 'geometry' }, nativeType: 'point' }], ['id']);
  const findings = await stand.sink.check([isMysql(stand.model.tables[0]?.schema as TableSchema)], stand.signal);
  expect(findings).toContainEqual(expect.objectContaining({ severity: 'error', code: 'replica-type', remedy: expect.stringContaining('CREATE EXTENSION postgis') as string }));
  await expect(stand.send(fromMysql(stand.model.batch()))).rejects.toMatchObject({ code: 'REPLICA_TYPE', where: { table: 'shop.placed', column: 'v' } });
});
