import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { modelColumn, SinkModel } from '../../../contracts/kit/sink-model.ts';
import { ModelChanges } from '../../../contracts/kit/sink-kit-changes.ts';
import { KIT_COLUMNS } from '../../../contracts/kit/sink-kit-rows.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { columnsOf } from './replica-stand.ts';
import { oidOf, tenRows } from './shadow-rows.ts';
import { deliver, leftovers, ShadowStand } from './shadow-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server?.[Symbol.asyncDispose]());


describe('what a swap puts in place', () => {
  test('a replica that has nothing gets every table, by their names, and goes on from there', async () => {
    await using stand = await ShadowStand.open(server);
    const table = stand.model.createTable('shop', 'things', KIT_COLUMNS, ['id']);
    const changes = new ModelChanges(stand.model, table);
    for (let id = 0; id < 10; id++) changes.insert(id, `name ${id}`);
    const other = stand.model.createTable('public', 'unique things', columnsOf({ id: 'integer', name: 'text' }), ['id'], 'identity');
    stand.model.insert(other, ['1', 'one']);
    stand.append();
    await stand.rebuild();
    await stand.expectEqual();
    await stand.expectOneSet(stand.model.offset);
    expect(await stand.sql("SELECT conname FROM pg_constraint WHERE contype IN ('p', 'u') AND conrelid IN ('shop.things'::regclass, 'public.\"unique things\"'::regclass) ORDER BY 1")).toEqual([
      ['things_pkey'], ['unique things_tidemark_key'],
    ]);
    changes.insert(77, 'later');
    stand.append();
    await stand.goOn();
    await stand.expectEqual();
  });

  test('rows that are gone, changed or too many are mended in place; the others are not touched', async () => {
    await using stand = await ShadowStand.open(server);
    const changes = await tenRows(stand);
    await stand.sql('CREATE VIEW names AS SELECT name FROM things');
    await stand.sql("DELETE FROM things WHERE id = 1; UPDATE things SET name = 'wrong' WHERE id = 2; INSERT INTO things (id) VALUES (99)");
    const before = await stand.sql('SELECT id, xmin, ctid FROM things WHERE id NOT IN (1, 2, 99) ORDER BY id');
    const oid = await oidOf(stand, 'things');
    await stand.rebuild();
    await stand.expectEqual();
    await stand.expectOneSet(stand.model.offset);
    expect(await stand.sql('SELECT id, xmin, ctid FROM things WHERE id NOT IN (1, 2, 99) ORDER BY id')).toEqual(before);
    expect(await oidOf(stand, 'things')).toBe(oid);
    expect(await stand.sql('SELECT count(*) FROM names')).toEqual([['10']]);
    changes.put(3, 'later');
    stand.append();
    await stand.goOn();
    await stand.expectEqual();
  });

  test('unique values that have gone round are merged without a violation', async () => {
    await using stand = await ShadowStand.open(server);
    const changes = await tenRows(stand);
    await stand.sql('CREATE UNIQUE INDEX ON things (name)');
    await stand.sql("UPDATE things SET name = 'x' WHERE id = 0; UPDATE things SET name = 'name 0' WHERE id = 1; UPDATE things SET name = 'name 1' WHERE id = 0");
    await stand.rebuild();
    await stand.expectEqual();
    changes.put(3, 'later');
    stand.append();
    await stand.goOn();
    await stand.expectEqual();
  });

  test('rows of a table without a key are compared by number', async () => {
    await using stand = await ShadowStand.open(server);
    const bag = stand.model.createTable('public', 'bag', columnsOf({ a: 'integer', b: 'text', c: 'json' }), []);
    for (let n = 0; n < 3; n++) stand.model.insert(bag, ['1', 'one', '{"a": 1}']);
    stand.model.insert(bag, ['2', null, null]);
    stand.model.insert(bag, ['3', 'three', '[1]']);
    const empty = stand.model.createTable('public', 'nothing', [], []);
    for (let n = 0; n < 3; n++) stand.model.insert(empty, []);
    await stand.apply();
    await stand.sql("DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag WHERE a = 1); INSERT INTO bag VALUES (2, NULL, NULL), (2, NULL, NULL), (4, 'four', '4'); UPDATE bag SET c = '[1 ]' WHERE a = 3");
    await stand.sql('INSERT INTO nothing DEFAULT VALUES');
    await stand.rebuild();
    await stand.expectEqual();
    await stand.sql('DELETE FROM nothing; DELETE FROM bag');
    await stand.fill();
    await stand.swap();
    await stand.expectEqual();
  });

  test('values are the same when their canonical text is, not when the server holds them for equal', async () => {
    await using stand = await ShadowStand.open(server);
    const types: Readonly<Record<string, readonly [native: string, is: string, was: string]>> = {
      numeric: ['numeric', '1.0', '1.00'], float: ['double precision', '-0', '0'], nan: ['real', 'NaN', '1'], json: ['json', '{"a":1}', '{"a": 1}'],
      jsonb: ['jsonb', '{"a": 1.0}', '{"a": 1.00}'], point: ['point', '(1,2)', '(1,2.5)'], xml: ['xml', '<a/>', '<a></a>'],
      range: ['numrange', '[1.0,2)', '[1.00,2)'], array: ['numeric[]', '{1.0}', '{1.00}'], fixed: ['character(5)', 'a    ', 'b'], interval: ['interval', 'P1M', 'P30D'],
      text: ['text', 'Ä', 'ä'],
    };
    const columns = Object.entries(types).map(([name, [nativeType]]) => ({ name, nativeType, type: { kind: 'text', length: null, fixed: false } as const }));
    const table = stand.model.createTable('public', 'values', [{ name: 'id', type: { kind: 'int32' }, nativeType: 'integer', nullable: false }, ...columns], ['id']);
    stand.model.insert(table, ['1', ...Object.values(types).map(([, is]) => is)]);
    stand.model.insert(table, ['2', ...Object.values(types).map(() => null)]);
    await stand.apply();
    const texts = (): Promise<(string | null)[][]> => stand.sql(`SELECT ${Object.keys(types).map((name) => `"${name}"::text`).join(', ')} FROM "values" WHERE id = 1`);
    const right = await texts();
    for (const [name, [, , was]] of Object.entries(types)) {
      await stand.sql(`UPDATE "values" SET "${name}" = '${was}' WHERE id = 1`);
      expect(await texts(), name).not.toEqual(right);
      await stand.fill();
      await stand.swap();
      expect(await texts(), name).toEqual(right);
    }
    await stand.expectOneSet(stand.model.offset);
  });

  test('what the replica added to its tables outlasts the merge of rows that were deleted and come again', async () => {
    await using stand = await ShadowStand.open(server);
    await tenRows(stand);
    await stand.sql("ALTER TABLE things ADD COLUMN seen text DEFAULT 'no', ADD COLUMN upper text GENERATED ALWAYS AS (upper(name)) STORED");
    await stand.sql("UPDATE things SET seen = 'yes ' || id; UPDATE things SET name = 'wrong' WHERE id < 5; DELETE FROM things WHERE id = 9");
    await stand.rebuild();
    await stand.expectEqual();
    expect(await stand.sql('SELECT seen, upper FROM things WHERE id IN (1, 8, 9) ORDER BY id')).toEqual([['yes 1', 'NAME 1'], ['yes 8', 'NAME 8'], ['no', 'NAME 9']]);
  });

  test('some of the tables, at the sink\'s own place: its checkpoint stands, the others are as they were', async () => {
    await using stand = await ShadowStand.open(server);
    const [one, two] = [await tenRows(stand, 'one'), await tenRows(stand, 'two')];
    await stand.sql("UPDATE one SET name = 'wrong'; DELETE FROM two WHERE id = 1");
    await stand.fill({ selects: ({ name }) => name === 'one' });
    await stand.sink[Symbol.asyncDispose]();
    await stand.swap(stand.request({ tables: [one.table.schema], whole: false }));
    await stand.expectEqual([one.table]);
    expect(await stand.sql('SELECT count(*) FROM two')).toEqual([['9']]);
    await stand.expectOneSet(stand.model.offset);
    two.put(1, 'again');
    stand.append();
    await stand.goOn();
    await stand.expectEqual([one.table]);
  });

  test('an earlier place: tables have the names of then, the ones that were not there yet are empty, those that had gone stay', async () => {
    await using stand = await ShadowStand.open(server);
    const [a, b, gone] = [await tenRows(stand, 'a'), await tenRows(stand, 'b'), await tenRows(stand, 'gone')];
    stand.model.tableState(gone.table, 'removed');
    stand.model.forget(gone.table);
    await stand.apply();
    const then = stand.model.offset;
    const schemas = [a.table.schema, b.table.schema];
    const rows = [a, b].map(({ table }) => ({ schema: table.schema, rows: table.expected() }));
    stand.model.alterTable(a.table, { name: 'c' });
    stand.model.alterTable(b.table, { name: 'a' });
    stand.model.alterTable(a.table, { name: 'b' });
    const later = stand.model.createTable('public', 'later', KIT_COLUMNS, ['id']);
    new ModelChanges(stand.model, later).insert(1, 'one');
    b.put(3, 'changed');
    await stand.apply();
    await stand.expectEqual();
    await stand.fill({ to: then });
    await stand.sink[Symbol.asyncDispose]();
    await stand.swap({ from: stand.at, to: stand.checkpointAt(then), tables: schemas, whole: true, notYet: [later.schema] });
    for (const { schema, rows: expected } of rows) await stand.expectEqual([{ schema, expected: () => expected }]);
    expect(await stand.sql('SELECT (SELECT count(*) FROM later), (SELECT count(*) FROM gone)')).toEqual([['0', '10']]);
    await stand.expectOneSet(then);
    await stand.goOn();
    await stand.expectEqual();
  });

  test('a new generation of a table takes the place of the old one, whatever that has', async () => {
    await using stand = await ShadowStand.open(server);
    const old = await tenRows(stand);
    stand.model.tableState(old.table, 'removed');
    stand.model.forget(old.table);
    const table = stand.model.createTable('public', 'things', columnsOf({ code: 'text', id: 'integer' }), ['code']);
    stand.model.insert(table, ['a', '1']);
    stand.append();
    await stand.rebuild();
    await stand.expectEqual();
    await stand.expectOneSet(stand.model.offset);
    stand.model.insert(table, ['b', '2']);
    stand.append();
    await stand.goOn();
    await stand.expectEqual();
  });

  test('the checkpoint of another log gives way, and so do its records of tables', async () => {
    await using old = await ShadowStand.open(server);
    await tenRows(old, 'other');
    await tenRows(old, 'things');
    await old.sink[Symbol.asyncDispose]();
    await using stand = new ShadowStand(old.place, {}, new SinkModel('b'));
    const things = stand.model.createTable('public', 'things', KIT_COLUMNS, ['id']);
    const changes = new ModelChanges(stand.model, things);
    changes.insert(1, 'of the new log');
    stand.append();
    await stand.fill();
    await stand.swap(stand.request({ from: null }));
    await stand.expectEqual();
    expect(await stand.sql('SELECT count(*) FROM other')).toEqual([['10']]);
    expect(await stand.sql('SELECT table_name FROM tidemark.mirrored_table')).toEqual([['things']]);
    changes.insert(2, 'more');
    stand.append();
    await stand.goOn();
    await stand.expectEqual();
  });

  test('a partitioned table of the replica gets its rows through its root', async () => {
    await using stand = await ShadowStand.open(server);
    await stand.sql('CREATE TABLE parts (id integer PRIMARY KEY, name text) PARTITION BY RANGE (id); CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (5); CREATE TABLE parts_high PARTITION OF parts DEFAULT');
    const table = stand.model.createTable('public', 'parts', columnsOf({ id: 'integer', name: 'text' }), ['id']);
    for (let id = 0; id < 10; id++) stand.model.insert(table, [String(id), `name ${id}`]);
    await stand.apply();
    await stand.sql("UPDATE parts SET name = 'wrong' WHERE id IN (1, 7); DELETE FROM parts WHERE id IN (2, 8); INSERT INTO parts VALUES (44, 'more')");
    await stand.rebuild();
    await stand.expectEqual();
    expect(await stand.sql('SELECT count(*) FROM parts_low')).toEqual([['5']]);
  });

  test('a table with rows that others inherit from is merged alone', async () => {
    await using stand = await ShadowStand.open(server);
    await tenRows(stand);
    await stand.sql('CREATE TABLE more () INHERITS (things); INSERT INTO more (id) VALUES (1000)');
    await stand.sql('DELETE FROM ONLY things WHERE id < 5');
    await stand.rebuild();
    expect(await stand.sql('SELECT (SELECT count(*) FROM ONLY things), (SELECT count(*) FROM more)')).toEqual([['10', '1']]);
  });
});

describe('types of users that were other ones in the history', () => {
  const mood = (labels: readonly string[]) => ({ name: 'mood', type: { kind: 'enum', name: 'shop.mood', labels } as const, nativeType: 'shop.mood' });
  const pair = (names: readonly string[]) => ({
    name: 'pair', nativeType: 'shop.pair',
    type: { kind: 'composite', name: 'shop.pair', fields: names.map((name) => ({ name, type: { kind: 'int32' } as const })) } as const,
  });
  const shape = (labels: readonly string[], fields: readonly string[]) => [
    { name: 'id', type: { kind: 'int32' }, nativeType: 'integer', nullable: false } as const, mood(labels), pair(fields),
  ];

  test('tables that are served meanwhile are not touched by them; the rebuilt ones have the types of the end', async () => {
    await using stand = await ShadowStand.open(server);
    const table = stand.model.createTable('public', 'people', shape(['sad', 'ok'], ['a']), ['id']);
    stand.model.insert(table, ['1', 'sad', '(1)']);
    await stand.apply();
    stand.model.alterTable(table, { columns: shape(['sad', 'fine', 'happy'], ['a', 'b']).map((column, index) => modelColumn(column, index + 1)) });
    stand.model.insert(table, ['2', 'happy', '(1,2)']);
    stand.model.update(table, ['1', 'sad', '(1)'], ['1', 'fine', '(3,)']);
    await stand.apply();
    await stand.sql('DELETE FROM people WHERE id = 2');
    const types = await stand.sql("SELECT enumlabel FROM pg_enum ORDER BY enumsortorder");
    await stand.fill();
    expect(await stand.sql("SELECT enumlabel FROM pg_enum ORDER BY enumsortorder")).toEqual(types);
    expect(await stand.sql('SELECT (pair).b FROM people')).toEqual([[null]]);
    await stand.sink[Symbol.asyncDispose]();
    await stand.swap();
    await stand.expectEqual();
    await stand.expectOneSet(stand.model.offset);
  });

  test('an earlier place, at which a label had another name: it has it again with the rows, not before', async () => {
    await using stand = await ShadowStand.open(server);
    const table = stand.model.createTable('public', 'people', shape(['sad', 'ok'], ['a']), ['id']);
    for (let id = 0; id < 4; id++) stand.model.insert(table, [String(id), id % 2 === 0 ? 'sad' : 'ok', '(1)']);
    await stand.apply();
    const then = { offset: stand.model.offset, schema: table.schema, rows: table.expected() };
    stand.model.alterTable(table, { columns: shape(['sad', 'fine'], ['a']).map((column, index) => modelColumn(column, index + 1)) });
    for (let id = 0; id < 4; id++) stand.model.update(table, [String(id), null, null], [String(id), 'fine', '(2)']);
    await stand.apply();
    await stand.fill({ to: then.offset });
    expect(await stand.sql('SELECT DISTINCT mood FROM people')).toEqual([['fine']]);
    await stand.sink[Symbol.asyncDispose]();
    await stand.swap({ from: stand.at, to: stand.checkpointAt(then.offset), tables: [then.schema], whole: true });
    await stand.expectEqual([{ schema: then.schema, expected: () => then.rows }]);
    expect(await stand.sql("SELECT enumlabel FROM pg_enum ORDER BY enumsortorder")).toEqual([['sad'], ['ok']]);
    await stand.goOn();
    await stand.expectEqual();
  });

  test('types that are missing are made; they stay after a swap, and go with a rebuild that is given up', async () => {
    await using stand = await ShadowStand.open(server);
    const table = stand.model.createTable('public', 'people', shape(['sad', 'ok'], ['a', 'b']), ['id']);
    stand.model.insert(table, ['1', 'sad', '(1,2)']);
    stand.append();
    await stand.fill();
    await stand.sink.shadow.discard(stand.signal);
    expect(await leftovers(stand.place)).toEqual([]);
    expect(await stand.sql("SELECT to_regtype('shop.mood'), to_regtype('shop.pair'), to_regnamespace('shop')")).toEqual([[null, null, null]]);
    await stand.rebuild();
    await stand.expectEqual();
    expect(await stand.sql("SELECT data_type FROM information_schema.columns WHERE table_name = 'people' AND column_name = 'mood'")).toEqual([['USER-DEFINED']]);
    stand.model.insert(table, ['2', 'ok', '(1,2)']);
    stand.append();
    await stand.goOn();
    await stand.expectEqual();
  });
});

describe('who may swap', () => {
  test('a hub that still thinks it owns the sink cannot write after the swap', async () => {
    await using stand = await ShadowStand.open(server);
    const changes = await tenRows(stand);
    const rebuilding = stand.another();
    await stand.fill({ of: rebuilding });
    await stand.swap(stand.request(), rebuilding);
    changes.put(1, 'too late');
    const batch = stand.append();
    await expect(deliver(stand.sink, batch, stand.signal)).rejects.toMatchObject({ code: 'SINK_FENCED' });
    expect(await stand.sql('SELECT count(*) FROM things WHERE name = \'too late\'')).toEqual([['0']]);
    await stand.goOn(rebuilding);
    await stand.expectEqual();
  });

  test('a batch that is under way is waited for, and ends the swap when it has moved the sink', async () => {
    await using stand = await ShadowStand.open(server);
    const changes = await tenRows(stand);
    const rebuilding = stand.another();
    await stand.fill({ of: rebuilding });
    const request = stand.request();
    changes.put(1, 'a part');
    const part = stand.model.batch(true);
    const applying = stand.sink.apply(part, stand.signal);
    await applying.accepted;
    const swapping = rebuilding.shadow.swap(request, stand.signal);
    changes.put(2, 'the end');
    await deliver(stand.sink, stand.model.batch(), stand.signal);
    await expect(swapping).rejects.toMatchObject({ code: 'REBUILD_MOVED' });
    await stand.expectEqual();
  });

  test('nothing is changed when a checkpoint is not where the request says', async () => {
    await using stand = await ShadowStand.open(server);
    const changes = await tenRows(stand);
    await expect(stand.sink.shadow.swap(stand.request({ to: stand.checkpointAt(999) }), stand.signal)).rejects.toMatchObject({ code: 'REBUILD_MOVED' });
    await stand.fill();
    changes.put(1, 'later');
    const behind = stand.at;
    await stand.apply();
    await expect(stand.sink.shadow.swap(stand.request({ from: behind }), stand.signal)).rejects.toMatchObject({ code: 'REBUILD_MOVED' });
    await expect(stand.sink.shadow.swap(stand.request(), stand.signal)).rejects.toMatchObject({ code: 'REBUILD_MOVED' });
    await expect(stand.sink.shadow.swap(stand.request({ from: null }), stand.signal)).rejects.toMatchObject({ code: 'REBUILD_MOVED' });
    await stand.expectEqual();
    await stand.fill();
    await expect(stand.sink.shadow.swap(stand.request({ from: behind }), stand.signal)).rejects.toMatchObject({ code: 'REBUILD_MOVED' });
    await expect(stand.sink.shadow.swap(stand.request({ from: null }), stand.signal)).rejects.toMatchObject({ code: 'REBUILD_MOVED' });
    await stand.swap();
    await stand.expectOneSet(stand.model.offset);
  });

  test('a swap that was made is not made again', async () => {
    await using stand = await ShadowStand.open(server);
    await tenRows(stand);
    await stand.rebuild();
    await stand.sql("UPDATE things SET name = 'by hand' WHERE id = 1");
    await stand.sink.shadow.swap(stand.request(), stand.signal);
    expect(await stand.sql('SELECT name FROM things WHERE id = 1')).toEqual([['by hand']]);
    await stand.expectOneSet(stand.model.offset);
  });

  test('a shadow of another log, or one that was being removed, is not gone on with', async () => {
    await using stand = await ShadowStand.open(server);
    await tenRows(stand);
    await stand.fill();
    await stand.sql("DELETE FROM tidemark.checkpoint WHERE sink = 'replica (shadow)'");
    await stand.sql('DELETE FROM things');
    await stand.fill();
    await stand.sql("UPDATE tidemark.checkpoint SET log_id = 'another' WHERE sink = 'replica (shadow)'");
    await stand.rebuild();
    await stand.expectEqual();
    await stand.expectOneSet(stand.model.offset);
  });

  test('a rebuild that is given up leaves nothing, whatever there is of it', async () => {
    await using stand = await ShadowStand.open(server);
    await stand.sink.shadow.discard(stand.signal);
    await tenRows(stand);
    const { shadow } = stand.sink;
    await using half = shadow.open(() => true);
    await half.open(stand.model.start(), stand.signal);
    await shadow.discard(stand.signal);
    expect(await leftovers(stand.place)).toEqual([]);
    await expect(deliver(half, stand.log[0] ?? stand.append(), stand.signal)).rejects.toMatchObject({ code: 'SINK_CHECKPOINT_MOVED' });
    await stand.fill();
    await shadow.finish(stand.request().tables, () => undefined, stand.signal);
    await shadow.discard(stand.signal);
    await shadow.discard(stand.signal);
    await stand.expectOneSet(stand.model.offset);
    await stand.expectEqual();
    await using never = await ShadowStand.open(server);
    await never.sql('DROP SCHEMA tidemark CASCADE');
    await never.sink.shadow.discard(never.signal);
  });
});
