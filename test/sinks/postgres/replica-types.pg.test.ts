import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ModelCell, ModelColumn } from '../../../contracts/kit/sink-model.ts';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { INT, POSTGRES_VALUES as TYPES, text } from '../relational/postgres-values.ts';
import { ReplicaStand } from './replica-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server?.[Symbol.asyncDispose]());

const ROWS_FOR_COPY = 30;

async function standWithExtensions(): Promise<ReplicaStand> {
  return ReplicaStand.open(server, ['CREATE EXTENSION hstore', 'CREATE EXTENSION citext', 'CREATE EXTENSION ltree']);
}

/** What the server prints for a value, under the settings of canonical text. */
async function canonical(stand: ReplicaStand, nativeType: string, value: string): Promise<string> {
  const { rows } = await stand.place.reader.query<{ text: string }>(`SELECT ($1::text)::${nativeType}::text AS text`, [value]);
  const found = rows[0]?.text ?? '';
  return nativeType === 'boolean' ? found.slice(0, 1) : found;
}

test('every type, by plain copy, by insert and by upsert, gives back the very text', async () => {
  await using stand = await standWithExtensions();
  const columns: ModelColumn[] = [
    { name: 'id', type: INT, nativeType: 'integer', nullable: false },
    ...TYPES.map(([nativeType, type], index) => ({ name: `c${index}`, type, nativeType })),
  ];
  const table = stand.model.createTable('public', 'typed', columns, ['id']);
  const values: string[][] = [];
  for (const [nativeType, , list] of TYPES) values.push(await Promise.all(list.map((value) => canonical(stand, nativeType, value))));
  const row = (id: number): ModelCell[] => [String(id), ...values.map((list) => (id % (list.length + 1) === list.length ? null : (list[id % (list.length + 1)] ?? null)))];
  for (let id = 0; id < ROWS_FOR_COPY; id++) stand.model.insert(table, row(id));
  await stand.apply();
  await stand.expectEqual();
  for (let id = 0; id < 10; id++) stand.model.insert(table, row(ROWS_FOR_COPY + id));
  for (let id = 0; id < ROWS_FOR_COPY; id++) stand.model.update(table, row(id), [String(id), ...row(id + 1).slice(1)]);
  await stand.apply();
  await stand.expectEqual();
});

test('a column of every type is a key, or part of one', async () => {
  await using stand = await standWithExtensions();
  const keyed = TYPES.filter(([nativeType]) => !/^(json|xml|point|polygon|circle|path|line|jsonpath|point\[\])$/.test(nativeType));
  for (const [index, [nativeType, type, list]] of keyed.entries()) {
    const table = stand.model.createTable('public', `keyed_${index}`, [
      { name: 'k', type, nativeType, nullable: false },
      { name: 'n', type: INT, nativeType: 'integer', nullable: false },
      { name: 'v', type: text(null), nativeType: 'text' },
    ], ['k', 'n']);
    const keys = await Promise.all(list.map((value) => canonical(stand, nativeType, value)));
    for (const [n, key] of keys.entries()) stand.model.insert(table, [key, String(n), 'first']);
  }
  await stand.apply();
  await stand.expectEqual();
  for (const table of stand.model.tables) {
    for (const [n, row] of table.expected().entries()) {
      if (n % 2 === 0) stand.model.update(table, row, [row[0] ?? null, row[1] ?? null, 'second']);
      else stand.model.delete(table, row);
    }
  }
  await stand.apply();
  await stand.expectEqual();
});

test('bytes, as value, as key and in a domain; a key that is equal but not the same', async () => {
  await using stand = await ReplicaStand.open(server);
  const bytes: LogicalType = { kind: 'bytes' };
  const table = stand.model.createTable('public', 'blobs', [
    { name: 'k', type: bytes, nativeType: 'bytea', nullable: false },
    { name: 'v', type: bytes, nativeType: 'bytea' },
    { name: 'd', type: { kind: 'domain', name: 'public.blob', base: bytes }, nativeType: 'public.blob' },
  ], ['k']);
  const values = [Buffer.alloc(0), Buffer.from([0]), Buffer.from('\\x00\n\t'), Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))];
  for (let n = 0; n < 40; n++) stand.model.insert(table, [Buffer.concat([Buffer.from([n]), values[n % 4] ?? Buffer.alloc(0)]), values[(n + 1) % 4] ?? null, n % 5 === 0 ? null : '\\x00ff']);
  await stand.apply();
  await stand.expectEqual();
  for (const row of table.expected().slice(0, 20)) stand.model.update(table, row, [row[0] ?? null, null, '\\x']);
  for (const row of table.expected().slice(20, 30)) stand.model.delete(table, row);
  await stand.apply();
  await stand.expectEqual();
  const numbers = stand.model.createTable('public', 'numbers', [{ name: 'k', type: { kind: 'decimal', precision: null, scale: null }, nativeType: 'numeric', nullable: false }], ['k']);
  stand.model.insert(numbers, ['1.0']);
  await stand.apply();
  stand.model.update(numbers, ['1.0'], ['1.00']);
  await stand.apply();
  await stand.expectEqual();
});

test('a value that the column at the replica cannot hold is refused, never cut', async () => {
  await using stand = await ReplicaStand.open(server, ['CREATE TABLE narrow (id integer PRIMARY KEY, a character varying(3), b bit(2))']);
  const table = stand.model.createTable('public', 'narrow', [
    { name: 'id', type: INT, nativeType: 'integer', nullable: false },
    { name: 'a', type: text(null), nativeType: 'text' },
    { name: 'b', type: text(null), nativeType: 'text' },
  ], ['id']);
  await stand.apply();
  for (const row of [['1', 'long', null], ['1', null, '101']]) {
    stand.model.insert(table, row);
    const batch = stand.model.batch();
    await expect(stand.send(batch)).rejects.toMatchObject({ code: 'SINK_DATA', where: { table: 'public.narrow' } });
    await stand.reopen();
    await stand.send({ ...batch, steps: [] });
    table.rows.clear();
  }
});
