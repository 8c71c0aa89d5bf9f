import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildImage, type CellValue } from '../../../contracts/row-image.ts';
import { type HashSeed, RowTextHash } from '../../../contracts/row-text-hash.ts';
import { inBucketsSql, type RunStatement, sumRows, type RowSumsParts, sumsRows } from '../../../contracts/types/postgres-row-sums.ts';
import { canonicalSettingsSql } from '../../../contracts/types/postgres-session.ts';
import { type PostgresServer, type Session, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';

let server: PostgresServer;
let session: Session;

beforeAll(async () => {
  server = await startPostgres();
  session = await server.connect();
  await session.query(canonicalSettingsSql());
});

afterAll(async () => {
  await session.end();
  await server[Symbol.asyncDispose]();
});

const runOn = (client: Session): RunStatement => async (text, values = []) => (await client.query<Record<string, string | null>>(text, [...values])).rows;

function hashOf(seed: HashSeed, cells: readonly CellValue[]): string {
  const hash = new RowTextHash(seed);
  // What was hashed before must not matter: of the same columns, first with quotes, then without.
  for (const before of [cells.map(() => ''), cells.map(() => 'x'), cells]) {
    const image = buildImage(before);
    hash.row(new DataView(image.buffer, image.byteOffset, image.length), 0, 0, image.length);
  }
  return BigInt.asIntN(64, (BigInt(hash.high) << 32n) | BigInt.asUintN(32, BigInt(hash.low))).toString();
}

function seedText([low, high]: HashSeed): string {
  return BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt.asUintN(32, BigInt(low))).toString();
}

const SEED = fc.tuple(fc.integer(), fc.integer()).map(([low, high]): HashSeed => [low, high]);
const MARKS = fc.string({ unit: fc.constantFrom('"', '\\', ',', '(', ')', ' ', '\t', '\n', '\v', '\f', '\r', 'a', 'é', '\u00a0', '\u0085', '\u2003'), maxLength: 12 });
const TEXT = fc.oneof(
  MARKS,
  fc.string({ unit: 'binary', maxLength: 60 }).map((text) => text.replaceAll('\0', '0').toWellFormed()),
  fc.string({ maxLength: 5000, size: 'max' }).map((text) => text.replaceAll('\0', '0')),
);
const CELL = fc.option(TEXT);
const BYTES = fc.option(fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)));

describe('the hash of a row', () => {
  it('is the server\'s, for every text, null, raw bytes, and seed', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(CELL, BYTES, CELL), { minLength: 1, maxLength: 60 }), SEED, async (rows, seed) => {
        const { rows: found } = await session.query<{ hash: string }>(
          `SELECT hashtextextended(ROW(a, b, c)::text, $4)::text AS hash FROM unnest($1::text[], $2::bytea[], $3::text[]) WITH ORDINALITY AS u(a, b, c, n) ORDER BY n`,
          [rows.map(([a]) => a), rows.map(([, b]) => b), rows.map(([, , c]) => c), seedText(seed)],
        );
        expect(found.map(({ hash }) => hash)).toEqual(rows.map((cells) => hashOf(seed, cells)));
      }),
      { numRuns: 150 },
    );
  });

  it('is the server\'s without a seed, of no column, of 1,600 columns, and of very long values', async () => {
    const one = async (columns: string, seed: HashSeed, cells: readonly CellValue[]): Promise<void> => {
      const { rows } = await session.query<{ hash: string }>(`SELECT hashtextextended(ROW(${columns})::text, ${seedText(seed)})::text AS hash`);
      expect(rows[0]?.hash).toBe(hashOf(seed, cells));
    };
    await one('', [1, 2], []);
    await one(`'a'`, [0, 0], ['a']);
    await one(`'a'`, [0, 1], ['a']);
    await one(`'a'`, [1, 0], ['a']);
    const wide = Array.from({ length: 1600 }, (_, index) => (index % 3 === 0 ? null : index % 3 === 1 ? `v ${index}` : String(index)));
    await one(wide.map((value) => (value === null ? 'NULL' : `'${value}'`)).join(', '), [5, -6], wide);
    await one(`repeat('ab"', 3000000), repeat('x', 7), decode(repeat('0aff', 1000000), 'hex')`, [7, 8], ['ab"'.repeat(3_000_000), 'xxxxxxx', Buffer.from('0aff'.repeat(1_000_000), 'hex')]);
    await one(`'after a long one'`, [7, 8], ['after a long one']);
  });

  it('is the server\'s for what its types print', async () => {
    await session.query(`CREATE TYPE public.mood AS ENUM ('so so', 'gl"ad'); CREATE TYPE public.pair AS (a text, b int[]); CREATE DOMAIN public.raw AS bytea;
      CREATE TABLE public.typed (i int, n numeric, f float8, r real, t text, c char(5), b bytea, d public.raw, ta text[], j json, jb jsonb, ts timestamptz, dt date,
        iv interval, bits bit varying, m public.mood, p public.pair, u uuid, ip inet, rg int4range, x xml, mo money, ch "char", ok bool);
      INSERT INTO public.typed VALUES (1, 1.50, 0.1, 1e-7, 'a,b', 'x', '\\x00ff22', '\\x', '{a,"b c",NULL,"",{}}'::text[], '{"a": [1, 2]}', '{"b":"x\\"y"}', '2026-01-01 00:00:00.1+00', '0001-01-01 BC',
        '1 day 2 hours', B'0101', 'gl"ad', ROW('q"\\', '{1,2}'), '00000000-0000-0000-0000-000000000001', '::1/64', '[1,5)', '<a b="c">(x)</a>', 12.34, '\\377', true),
        (NULL, 'NaN', 'Infinity', '-0', '', '', '', NULL, '{}', 'null', '""', 'infinity', '-infinity', 'P0D', '', 'so so', ROW(NULL, NULL), NULL, NULL, 'empty', NULL, NULL, '', NULL)`.replace('{a,"b c",NULL,"",{}}', '{a,"b c",NULL,""}'));
    const columns = 'i n f r t c b d ta j jb ts dt iv bits m p u ip rg x mo ch ok'.split(' ');
    const texts = columns.map((name) => (name === 'c' ? 'rtrim(c) || repeat(\' \', 5 - length(rtrim(c)))' : `format('%s', ${name})`)).map((sql, at) => `CASE WHEN ${columns[at]} IS NOT DISTINCT FROM NULL THEN NULL ELSE ${sql} END`);
    const { rows } = await session.query<{ hash: string; cells: (string | null)[] }>(
      `SELECT hashtextextended(ROW(${columns.join(', ')})::text, 77)::text AS hash, ARRAY[${texts.join(', ')}] AS cells FROM public.typed`,
    );
    expect(rows).toHaveLength(2);
    for (const { hash, cells } of rows) {
      const image = cells.map((cell, at) => (cell !== null && ['b', 'd'].includes(columns[at] ?? '') ? Buffer.from(cell.slice(2), 'hex') : cell));
      expect(hashOf([77, 0], image)).toBe(hash);
    }
  });
});

describe('whether a server can sum rows', () => {
  it('yes; but not in another encoding than UTF-8, and not where it hashes in another way', async () => {
    expect(await sumsRows(runOn(session))).toBe(true);
    await server.query(`CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'`);
    await using latin = await server.connect('latin');
    await latin.query(canonicalSettingsSql());
    expect(await sumsRows(runOn(latin))).toBe(false);
    const otherwise: RunStatement = (text, values) => runOn(session)(text.replace('COLLATE', `|| 'x' COLLATE`), values);
    expect(await sumsRows(otherwise)).toBe(false);
    const old: RunStatement = async (text, values) => (await runOn(session)(text, values)).map((row) => ('version' in row ? { ...row, version: '130020' } : row));
    expect(await sumsRows(old)).toBe(false);
  });
});

describe('sums over a table', () => {
  const request = { seed: [123456789, -987654321] as const, buckets: 64 };

  /** Statements of one page each after the first: the clock says that they take long. */
  function partsOf(from: string, statements: string[]): RowSumsParts {
    const { clock } = createTestRuntime({});
    let now = 0;
    const run: RunStatement = (text, values) => {
      statements.push(text);
      return runOn(session)(text, values);
    };
    return {
      run, look: runOn(session), leaves: [from], firstPages: 40, columns: ['id', '"a ""b"', 'n'], request, stateOf: (error) => (error instanceof Error && 'code' in error ? String(error.code) : null),
      clock: Object.assign(Object.create(clock) as typeof clock, { monotonic: () => (now += 1_000_000) }),
    };
  }

  it('are those of its rows, each counted once, whatever the ranges; and rows can be chosen by bucket', async () => {
    await session.query(`CREATE TABLE public."odd ""t" (id int, "a ""b" text, n numeric); INSERT INTO public."odd ""t" SELECT g, repeat('v"' || g, g % 50), g / 8.0 FROM generate_series(1, 30000) AS g;
      DELETE FROM public."odd ""t" WHERE id % 7 = 0`);
    const { rows } = await session.query<{ id: number; a: string; n: string }>(`SELECT id, "a ""b" AS a, n::text AS n FROM public."odd ""t"`);
    const expected = new Map<number, { rows: number; sum: bigint; ids: number[] }>();
    for (const { id, a, n } of rows) {
      const hash = BigInt(hashOf(request.seed, [String(id), a, n]));
      const bucket = Number(hash & 63n);
      const sum = expected.get(bucket) ?? { rows: 0, sum: 0n, ids: [] };
      expected.set(bucket, { rows: sum.rows + 1, sum: BigInt.asUintN(64, sum.sum + hash), ids: sum.ids });
      sum.ids.push(id);
    }
    const [oid] = await server.query<{ oid: string }>(`SELECT 'public."odd ""t"'::regclass::oid::text AS oid`);
    const statements: string[] = [];
    const found = new Map<number, { rows: number; sum: bigint }>();
    let total = 0;
    for await (const some of sumRows(partsOf(oid?.oid ?? '', statements))) {
      total += some?.rows ?? NaN;
      for (const one of some?.sums ?? []) {
        const sum = found.get(one.bucket) ?? { rows: 0, sum: 0n };
        const hash = (BigInt(one.high) << 32n) + BigInt.asUintN(32, BigInt(one.low));
        found.set(one.bucket, { rows: sum.rows + one.rows, sum: BigInt.asUintN(64, sum.sum + hash) });
      }
    }
    expect(total).toBe(rows.length);
    expect(statements.length).toBeGreaterThan(5);
    expect([...found].toSorted(([a], [b]) => a - b)).toEqual([...expected].map(([bucket, { rows: count, sum }]) => [bucket, { rows: count, sum }] as const).toSorted(([a], [b]) => a - b));
    const chosen = await session.query<{ id: number }>(`SELECT id FROM public."odd ""t" WHERE ${inBucketsSql(['id', '"a ""b"', 'n'], { ...request, chosen: [3, 60] })}`);
    expect(chosen.rows.map(({ id }) => id).toSorted((a, b) => a - b)).toEqual([...(expected.get(3)?.ids ?? []), ...(expected.get(60)?.ids ?? [])].toSorted((a, b) => a - b));
  });

  it('are not to be had of what is no heap, may not be read by itself, or is too long as text', async () => {
    await session.query(`CREATE VIEW public.seen AS SELECT 1 AS id, ''::text AS "a ""b", 1.0 AS n; CREATE TABLE public.hidden (id int, "a ""b" text, n text); CREATE ROLE nobody`);
    const found = async (table: string, change: (parts: RowSumsParts) => RowSumsParts = (parts) => parts): Promise<unknown[]> => {
      const [row] = await server.query<{ oid: string }>(`SELECT 'public.${table}'::regclass::oid::text AS oid`);
      const all = [];
      for await (const some of sumRows(change(partsOf(row?.oid ?? '', [])))) all.push(some);
      return all;
    };
    expect(await found('seen')).toEqual([null]);
    expect(await found('hidden')).toEqual([{ rows: 0, sums: [] }]);
    await session.query('SET ROLE nobody');
    expect(await found('hidden')).toEqual([null]);
    await session.query('RESET ROLE');
    const failing = (code: string) => (parts: RowSumsParts): RowSumsParts => ({
      ...parts, run: (text) => (text.includes('GROUP BY') ? Promise.reject(Object.assign(new Error('it failed'), { code })) : parts.run(text)),
    });
    expect(await found('hidden', (parts) => ({ ...parts, request: { ...parts.request, buckets: 1 } }))).toEqual([{ rows: 0, sums: [{ bucket: 0, rows: 0, low: 0, high: 0 }] }]);
    expect(await found('hidden', failing('54000'))).toEqual([null]);
    await expect(found('hidden', failing('57P01'))).rejects.toThrow('it failed');
  });
});
