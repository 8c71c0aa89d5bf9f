import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RowWidth } from '../../../connectors/postgres/stream/row-width.ts';
import { readTypes } from '../../../connectors/postgres/catalog/catalog-query.ts';
import { Endpoint } from '../../../connectors/postgres/session.ts';
import type { CopiedChunk } from '../../../contracts/connector.ts';
import { NEVER } from '../../../contracts/kit/connector-kit-common.ts';
import { recordsOf, type ReferenceRecord } from '../../../contracts/kit/reference-log.ts';
import { Flag, Op } from '../../../contracts/op.ts';
import { buildImage, readImage, type CellValue } from '../../../contracts/row-image.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { baseType } from '../../../contracts/types/logical-type.ts';
import { startPostgres, type PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { ARRAY_CASES, POSSIBLE_TYPES_SQL, TYPE_CASES, TYPE_SETUP, TYPE_VALUES_SETUP, typeTables, type TypeCase } from '../../fixtures/postgres-types.ts';
import { Captured } from './captured.ts';
import { TestSource } from './source-fixture.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const TABLES = typeTables([...TYPE_CASES, ...ARRAY_CASES]);

/** Rows by key: what the log holds of each, and its cells by column. */
function byKey(records: readonly ReferenceRecord[]): Map<string, { cells: readonly CellValue[]; image: string }> {
  return new Map(records.map(({ key, after }) => [key, { cells: readImage(Buffer.from(after, 'hex')), image: after }]));
}

async function copied(it: Captured, schema: TableSchema): Promise<ReferenceRecord[]> {
  const copier = it.test.connector.copier();
  const plan = await copier.plan(schema, null, NEVER);
  const records: ReferenceRecord[] = [];
  for (const range of plan.ranges) {
    await using chunk = await copier.chunk(plan, range, NEVER);
    for await (const batch of chunk.batches()) records.push(...recordsOf(batch));
  }
  return records;
}

/** As the server prints it. */
function printed(cell: CellValue | undefined): unknown {
  return cell instanceof Uint8Array ? `\\x${Buffer.from(cell).toString('hex')}` : cell;
}

describe('every type', () => {
  it('has the same bytes in the stream as in a copy, and those that the server prints', async () => {
    await using it = await Captured.begin(server, `${TYPE_SETUP} ${TYPE_VALUES_SETUP} ${TABLES.map((table) => table.create).join('; ')}`);
    for (const table of TABLES) await it.source.query(table.insert(0));
    await it.test.caughtUp();
    await using session = await new Endpoint(it.source.config, it.source.runtime).open(NEVER);
    for (const table of TABLES) {
      const schema = it.schema(table.name);
      const streamed = byKey(it.test.rowRecords(table.name));
      expect(streamed.size).toBe(table.rows);
      const rows = byKey(await copied(it, schema));
      const atServer = await session.query(`SELECT * FROM public.${table.name} ORDER BY id`);
      for (const [index, { type, logical }] of table.cases.entries()) {
        const column = schema.columns[index + 1];
        expect(column?.type, type).toMatchObject(logical);
        const inStream = [...streamed.values()].map(({ cells }) => cells[index + 1]);
        expect(inStream.map(printed), type).toEqual(atServer.map((row) => row[`c${index}`]));
        expect([...rows.values()].map(({ cells }) => cells[index + 1]), type).toEqual(inStream);
        const bytes = column !== undefined && baseType(column.type).kind === 'bytes';
        expect(inStream.every((cell) => cell === null || cell instanceof Uint8Array === bytes), type).toBe(true);
      }
      expect(rows).toEqual(streamed);
    }
  }, 120_000);

  it('that a table can have is among these', async () => {
    await using source = await TestSource.make(server);
    await source.query(`${TYPE_SETUP} ${TYPE_VALUES_SETUP} ${TABLES.map((table) => table.create).join('; ')}`);
    await source.query(`SELECT set_config('search_path', '', false)`);
    const possible = await source.query<{ oid: string; name: string }>(POSSIBLE_TYPES_SQL);
    expect(possible.length).toBeGreaterThan(110);
    const used = await source.query<{ oid: string }>(
      `SELECT DISTINCT atttypid::int8 AS oid FROM pg_attribute WHERE attrelid::regclass::text ~ '^public[.]types_' AND attnum > 0`);
    const known = new Set(used.map((row) => row.oid));
    expect(possible.filter((row) => !known.has(row.oid)).map((row) => row.name)).toEqual([]);
    // And of each of them its array, but for those without values to make one of.
    const arrays = await source.query<{ name: string }>(`SELECT format_type(typarray, -1) AS name FROM pg_type
       WHERE oid::int8 = ANY ('{${possible.map((row) => row.oid).join(',')}}') AND typarray <> 0 AND typarray::int8 <> ALL ('{${[...known].join(',')}}')`);
    const without = new Set(TYPE_CASES.filter((one) => one.printedOnly).map((one) => `${one.type}[]`));
    expect(arrays.map((row) => row.name.replace(/^public[.]/, '')).filter((name) => !without.has(name))).toEqual([]);
  });
});

const NO_OPERATOR_CLASS = '42704';

/** A row of this has a list of privileges in it, which nothing compares. */
const hasAcl = (one: TypeCase): boolean => one.type === 'pg_catalog.pg_namespace';

const COLUMNS_PER_KEY = 6;

/** Those that an index can order. */
async function orderedCases(source: TestSource): Promise<TypeCase[]> {
  const ordered: TypeCase[] = [];
  for (const one of TYPE_CASES) {
    if (one.values.length === 0 || one.printedOnly || hasAcl(one)) continue;
    try {
      await source.query(`CREATE TEMPORARY TABLE tried (k ${one.type} PRIMARY KEY); DROP TABLE tried`);
      ordered.push(one);
    } catch (error) {
      if (!(error instanceof pg.DatabaseError) || error.code !== NO_OPERATOR_CLASS) throw error;
    }
  }
  return ordered;
}

/** Tables `k0`, `k1`, ... whose keys are of several types. */
async function keyTables(source: TestSource, cases: readonly TypeCase[]): Promise<string[]> {
  const names: string[] = [];
  for (let at = 0; at < cases.length; at += COLUMNS_PER_KEY) {
    const some = cases.slice(at, at + COLUMNS_PER_KEY);
    const name = `k${names.length}`;
    const columns = some.map((_, index) => `c${index}`);
    await source.query(`CREATE TABLE ${name} (${some.map((one, index) => `c${index} ${one.type}`).join(', ')}, n int, PRIMARY KEY (${columns.join(', ')}, n))`);
    for (let n = 0; n < Math.max(...some.map((one) => one.values.length)); n++) {
      const row = some.map((one) => `(${one.values[n % one.values.length] ?? ''})::${one.type}`);
      // Not what is too large for an index entry.
      await source.query(`INSERT INTO ${name} SELECT * FROM (VALUES (${row.join(', ')}, ${n})) AS t(${columns.join(', ')}, n) WHERE pg_column_size(t) < 2000`);
    }
    names.push(name);
  }
  return names;
}

async function keysOf(chunk: CopiedChunk): Promise<string[]> {
  const keys: string[] = [];
  for await (const batch of chunk.batches()) keys.push(...recordsOf(batch).map((record) => record.key));
  return keys;
}

describe('a key of any type', () => {
  it('finds its row again', async () => {
    await using source = await TestSource.make(server);
    await source.query(`${TYPE_SETUP} ${TYPE_VALUES_SETUP}`);
    const cases = await orderedCases(source);
    expect(cases.length).toBeGreaterThan(85);
    const names = await keyTables(source, cases);
    await using connector = source.connector();
    const schemas = new Map((await connector.tables(NEVER)).map((schema) => [schema.name, schema]));
    const copier = connector.copier();
    for (const name of names) {
      const schema = schemas.get(name);
      if (schema === undefined) throw new Error(`no ${name}`);
      const plan = await copier.plan(schema, null, NEVER);
      await using chunk = await copier.chunk(plan, plan.ranges[0] ?? '', NEVER);
      const keys = await keysOf(chunk);
      expect(keys.length, name).toBeGreaterThan(0);
      await using found = await copier.rows(schema, keys.map((key) => Buffer.from(key, 'hex')), NEVER);
      expect((await keysOf(found)).toSorted(), name).toEqual(keys.toSorted());
    }
  });
});

/** Rows around the size at which Postgres moves values out of line, of types whose text is shorter than their bytes. */
const SIZES: readonly [string, (n: number) => string][] = [
  ['text', (n) => `repeat('x', ${n})`],
  ['bytea', (n) => `decode(repeat('ab', ${n}), 'hex')`],
  ['numeric', (n) => `repeat('9', ${n})::numeric`],
  ['jsonb', (n) => `(SELECT jsonb_agg(1) FROM generate_series(1, ${n / 4}))`],
  ['jsonb', (n) => `(SELECT jsonb_object_agg(i, '[]'::jsonb) FROM generate_series(1, ${n / 16}) AS i)`],
  ['int8[]', (n) => `array_fill(0::int8, ARRAY[${n / 4}])`],
  ['float8[]', (n) => `array_fill(0::float8, ARRAY[${n / 4}])`],
  ['interval[]', (n) => `array_fill('0'::interval, ARRAY[${n / 8}])`],
  ['text[]', (n) => `array_fill(''::text, ARRAY[${n / 4}])`],
  ['numeric[]', (n) => `array_fill(0::numeric, ARRAY[${n / 4}])`],
  ['point[]', (n) => `array_fill('(0,0)'::point, ARRAY[${n / 8}])`],
  ['int4range[]', (n) => `array_fill('empty'::int4range, ARRAY[${n / 8}])`],
  ['numrange', (n) => `numrange(repeat('1', ${n})::numeric, NULL)`],
  ['int4multirange', (n) => `(SELECT range_agg(int4range(i * 3, i * 3 + 1)) FROM generate_series(1, ${n / 8}) AS i)`],
  ['hollow[]', (n) => `array_fill(ROW(NULL)::hollow, ARRAY[${n / 8}])`],
  ['wide_pair', (n) => `ROW(array_fill(0::int8, ARRAY[${n / 8}]), array_fill(0::int8, ARRAY[${n / 8}]))::wide_pair`],
  ['tsvector', (n) => `(SELECT array_to_tsvector(array_agg(i::text)) FROM generate_series(1, ${n / 8}) AS i)`],
  ['hstore', (n) => `(SELECT hstore(array_agg(i::text), array_agg(''::text)) FROM generate_series(1, ${n / 16}) AS i)`],
  ['polygon', (n) => `polygon(${Math.max(4, n / 16)}, '<(0,0),1>'::circle)`],
  ['varbit', (n) => `repeat('1', ${n * 4})::varbit`],
  ['inet[]', (n) => `array_fill('1.1.1.1'::inet, ARRAY[${n / 8}])`],
];

describe('rows that may hold a value out of line', () => {
  it('are never taken for narrow, and small ones of common types are', async () => {
    await using source = await TestSource.make(server);
    await source.query(`CREATE EXTENSION hstore; CREATE TYPE hollow AS (a int); CREATE TYPE wide_pair AS (a int8[], b int8[])`);
    await using session = await new Endpoint(source.config, source.runtime).open(NEVER);
    const narrow: string[] = [];
    for (const [type, make] of SIZES) {
      await session.query('SET search_path = public');
      const [named] = await session.query(`SELECT '${type}'::regtype::oid AS oid`);
      const oid = Number(named?.['oid']);
      const width = new RowWidth([23, oid, oid], await readTypes(session, [23, oid]));
      for (let n = 16; n < 3000; n = Math.ceil(n * 1.15 / 16) * 16) {
        const [row] = await session.query(
          `SELECT v, pg_column_size(ROW(1, v, v)) AS size FROM (SELECT (${make(n)})::${type} AS v OFFSET 0) AS made`);
        const value = row?.['v'] ?? '';
        const cell = type === 'bytea' ? Buffer.from(value.slice(2), 'hex') : value;
        const image = buildImage(['1', cell, cell]);
        const isWide = width.isWide(image, 0, image.length);
        if (Number(row?.['size']) > 2032) expect(isWide, `${type}, ${n}`).toBe(true);
        else if (!isWide) narrow.push(`${type} ${n}`);
      }
    }
    // The bound is worth something: half of the threshold, or what its factor leaves of it.
    const largest = (type: string): number => Math.max(0, ...narrow.filter((one) => one.startsWith(`${type} `)).map((one) => Number(one.split(' ').at(-1))));
    for (const [type, least] of [['text', 800], ['bytea', 800], ['int8[]', 300], ['jsonb', 100]] as const) expect(largest(type), type).toBeGreaterThan(least);
  });

  it('are flagged in the stream only where the table has a place for them', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE small (id int PRIMARY KEY, n int[], v varchar(50)); CREATE TABLE plain (id int PRIMARY KEY, v varchar(100))');
    await it.run(`INSERT INTO small VALUES (1, '{1,2}', 'x'), (2, array_fill(0, ARRAY[600]), 'x'); INSERT INTO plain VALUES (1, repeat('x', 100))`);
    expect(it.test.log.read(0).filter((record) => record.op === Op.create).map((record) => record.flags)).toEqual([0, Flag.wide, 0]);
  });
});
