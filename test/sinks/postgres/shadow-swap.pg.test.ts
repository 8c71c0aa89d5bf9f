import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { modelColumn, type ModelTable, SinkModel } from '../../../contracts/kit/sink-model.ts';
import { ModelChanges } from '../../../contracts/kit/sink-kit-changes.ts';
import { KIT_COLUMNS } from '../../../contracts/kit/sink-kit-rows.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { columnsOf } from './replica-stand.ts';
import { deliver, leftovers, ShadowStand } from './shadow-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server?.[Symbol.asyncDispose]());

/** A table of the kit with ten rows, applied. */
async function tenRows(stand: ShadowStand, name = 'things'): Promise<ModelChanges> {
  const table = stand.model.createTable('public', name, KIT_COLUMNS, ['id']);
  const changes = new ModelChanges(stand.model, table);
  for (let id = 0; id < 10; id++) changes.insert(id, `name ${id}`);
  await stand.apply();
  return changes;
}

/** The shape changes in a way that needs no merge: the table is exchanged where nothing is in the way. */
function addColumn(stand: ShadowStand, table: ModelTable, name = 'note'): void {
  const number = Math.max(...table.schema.columns.map((column) => column.number)) + 1;
  stand.model.alterTable(table, { columns: [...table.schema.columns, modelColumn({ name, type: { kind: 'text', length: null, fixed: false }, nativeType: 'text', fill: 'filled' }, number)] });
}

async function oidOf(stand: ShadowStand, table: string): Promise<string | null | undefined> {
  return (await stand.sql(`SELECT to_regclass('${table}')::oid`))[0]?.[0];
}

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

describe('tables that are exchanged', () => {
  test('have everything that the old ones were given', async () => {
    await using stand = await ShadowStand.open(server);
    const { table } = await tenRows(stand);
    await stand.sql(`DROP ROLE IF EXISTS owner_${stand.place.database}, reader_${stand.place.database}; CREATE ROLE owner_${stand.place.database}; CREATE ROLE reader_${stand.place.database}`);
    await stand.sql(`GRANT ALL ON SCHEMA public TO owner_${stand.place.database}`);
    await stand.sql(`ALTER TABLE things SET (fillfactor = 71, toast.autovacuum_enabled = false); ALTER TABLE things ADD CONSTRAINT "one of a kind" UNIQUE (name) DEFERRABLE INITIALLY DEFERRED;
      ALTER TABLE things ADD UNIQUE (id, name); CREATE INDEX "by; amount" ON things (amount DESC NULLS LAST, lower(name)) INCLUDE (id) WHERE amount > 0;
      ALTER TABLE things ALTER COLUMN name SET STATISTICS 333, ALTER COLUMN name SET DEFAULT 'nobody', REPLICA IDENTITY FULL;
      COMMENT ON TABLE things IS 'it''s all'; COMMENT ON COLUMN things.name IS 'a \\ name'; COMMENT ON INDEX "by; amount" IS 'quick';
      COMMENT ON CONSTRAINT "one of a kind" ON things IS 'once'; GRANT SELECT ON things TO PUBLIC; GRANT INSERT, UPDATE ON things TO reader_${stand.place.database} WITH GRANT OPTION;
      ALTER TABLE things OWNER TO owner_${stand.place.database}`);
    const before = await described(stand);
    const oid = await oidOf(stand, 'things');
    addColumn(stand, table);
    stand.append();
    await stand.rebuild();
    await stand.expectEqual();
    await stand.expectOneSet(stand.model.offset);
    expect(await oidOf(stand, 'things')).not.toBe(oid);
    expect(await described(stand)).toEqual(before);
    stand.model.insert(table, ['55', 'more', '1', null, null, 'x']);
    stand.append();
    await stand.goOn();
    await stand.expectEqual();
    await stand.sql(`DROP OWNED BY owner_${stand.place.database}, reader_${stand.place.database}; DROP ROLE owner_${stand.place.database}, reader_${stand.place.database}`);
  });

  const obstacles: Readonly<Record<string, string>> = {
    view: 'CREATE VIEW v AS SELECT name FROM things',
    'materialized view': 'CREATE MATERIALIZED VIEW m AS SELECT name FROM things',
    'foreign key of another': 'CREATE TABLE f (id bigint REFERENCES things)',
    'foreign key': 'CREATE TABLE g (id bigint PRIMARY KEY); ALTER TABLE things ADD CONSTRAINT things_fk FOREIGN KEY (id) REFERENCES g NOT VALID',
    trigger: "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''fired''; END'; CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON things FOR EACH ROW EXECUTE FUNCTION no()",
    policy: 'CREATE POLICY p ON things USING (true)',
    rule: 'CREATE RULE r AS ON DELETE TO things DO INSTEAD NOTHING',
    check: 'ALTER TABLE things ADD CHECK (id >= 0)',
    publication: 'CREATE PUBLICATION p FOR TABLE things',
    statistics: 'CREATE STATISTICS s ON id, name FROM things',
    function: 'CREATE FUNCTION n() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM things; END',
    'row type': 'CREATE FUNCTION id_of(things) RETURNS bigint LANGUAGE sql AS $$ SELECT $1.id $$',
    sequence: 'CREATE SEQUENCE q OWNED BY things.id',
    column: 'ALTER TABLE things ADD COLUMN own integer',
    'generated column': 'ALTER TABLE things ADD COLUMN twice bigint GENERATED ALWAYS AS (id * 2) STORED',
    'grant on a column': 'GRANT SELECT (name) ON things TO PUBLIC',
    'exclusion': "ALTER TABLE things ADD EXCLUDE USING btree (name WITH =)",
    'row security': 'ALTER TABLE things ENABLE ROW LEVEL SECURITY',
    'column type': 'ALTER TABLE things ALTER COLUMN name TYPE varchar(90)',
    unlogged: 'ALTER TABLE things SET UNLOGGED',
    clustered: 'ALTER TABLE things CLUSTER ON things_pkey',
  };

  test.each(Object.entries(obstacles))('not with a %s: it stays, the columns come, the rows are merged; another shape is refused and changes nothing', async (_, sql) => {
    await using stand = await ShadowStand.open(server);
    const changes = await tenRows(stand);
    await stand.sql(sql);
    const oid = await oidOf(stand, 'things');
    await stand.sql("SET session_replication_role = replica; DELETE FROM things WHERE id = 1; UPDATE things SET name = 'wrong' WHERE id = 2; SET session_replication_role = origin");
    addColumn(stand, changes.table);
    stand.append();
    await stand.rebuild();
    await stand.expectEqual();
    await stand.expectOneSet(stand.model.offset);
    expect(await oidOf(stand, 'things')).toBe(oid);
    await stand.goOn();
    const { columns } = changes.table.schema;
    stand.model.alterTable(changes.table, { columns: columns.filter((column) => column.name !== 'flag') });
    stand.append();
    await stand.fill();
    const found = await stand.sink.shadow.check([changes.table.schema], stand.signal);
    expect(found.filter((finding) => finding.severity === 'error')).toEqual([expect.objectContaining({ code: 'rebuild-in-the-way', table: 'public.things' })]);
    await expect(stand.sink.shadow.swap(stand.request(), stand.signal)).rejects.toMatchObject({ code: 'REBUILD_IN_THE_WAY' });
    expect(await stand.sql('SELECT count(*), count(flag) FROM things')).toEqual([['10', '10']]);
  });

  test('a column cannot come where the server refuses it: it says why, and nothing is changed', async () => {
    await using stand = await ShadowStand.open(server);
    const { table } = await tenRows(stand);
    await stand.sql('CREATE TABLE h (t things)');
    addColumn(stand, table);
    stand.append();
    await stand.fill();
    await expect(stand.swap()).rejects.toMatchObject({ code: 'REBUILD_IN_THE_WAY', message: expect.stringContaining('column "h.t" uses its row type') as unknown });
    expect(await stand.sql('SELECT count(*) FROM things')).toEqual([['10']]);
    await stand.sink.shadow.discard(stand.signal);
    expect(await leftovers(stand.place)).toEqual([]);
  });

  test('another shape, where nothing depends: dropped, renamed and retyped columns, another key', async () => {
    await using stand = await ShadowStand.open(server);
    const { table } = await tenRows(stand);
    await stand.sql("CREATE INDEX by_amount ON things (amount); COMMENT ON COLUMN things.name IS 'how it is called'");
    const [id, name, amount, , flag] = table.schema.columns;
    if (id === undefined || name === undefined || amount === undefined || flag === undefined) throw new Error('the kit has other columns');
    stand.model.alterTable(table, { columns: [id, { ...name, name: 'title' }, amount, flag], key: [0], keyKind: 'identity' });
    stand.append();
    await stand.rebuild();
    await stand.expectEqual();
    await stand.expectOneSet(stand.model.offset);
    expect(await stand.sql("SELECT indexname FROM pg_indexes WHERE tablename = 'things' ORDER BY 1")).toEqual([['by_amount'], ['things_tidemark_key']]);
    expect(await stand.sql("SELECT col_description('things'::regclass, attnum) FROM pg_attribute WHERE attrelid = 'things'::regclass AND attname = 'title'")).toEqual([['how it is called']]);
    stand.model.insert(table, ['55', 'more', '1', 't']);
    stand.append();
    await stand.goOn();
    await stand.expectEqual();
    await stand.sql('CREATE INDEX by_flag ON things (flag)');
    stand.model.alterTable(table, { columns: table.schema.columns.filter((column) => column.name !== 'flag') });
    stand.append();
    await stand.fill();
    await expect(stand.sink.shadow.swap(stand.request(), stand.signal)).rejects.toThrow(/index by_flag/);
  });

  test('prepared, and then filled further over changes of the shape', async () => {
    await using stand = await ShadowStand.open(server);
    const changes = await tenRows(stand);
    await stand.sql("CREATE UNIQUE INDEX by_name ON things (name); CREATE INDEX by_amount ON things (amount)");
    changes.put(3, 'name 3b');
    addColumn(stand, changes.table, 'first');
    stand.append();
    await stand.fill();
    await stand.sink.shadow.finish([changes.table.schema], () => undefined, stand.signal);
    expect(await stand.sql("SELECT count(*) FROM pg_indexes WHERE tablename = 'rebuilt_1'")).toEqual([['3']]);
    addColumn(stand, changes.table, 'second');
    stand.model.alterTable(changes.table, { columns: changes.table.schema.columns.filter((column) => column.name !== 'first') });
    stand.model.update(changes.table, ['1', null], ['1', 'name 2', '5', null, 't', 's']);
    stand.model.update(changes.table, ['2', null], ['2', 'name 1', '5', null, 't', 's']);
    stand.append();
    await stand.fill();
    await stand.swap();
    await stand.expectEqual();
    await stand.expectOneSet(stand.model.offset);
    expect(await stand.sql("SELECT indexname FROM pg_indexes WHERE tablename = 'things' ORDER BY 1")).toEqual([['by_amount'], ['by_name'], ['things_pkey']]);
    await stand.goOn();
  });

  test('a rule of the replica that the rebuilt rows break is named, and nothing is changed', async () => {
    await using stand = await ShadowStand.open(server);
    const { table } = await tenRows(stand);
    await stand.sql("UPDATE things SET flag = id = 1; DELETE FROM things WHERE id > 1; CREATE UNIQUE INDEX only_one ON things (flag)");
    await stand.fill();
    await expect(stand.sink.shadow.swap(stand.request(), stand.signal)).rejects.toThrow(/only_one/);
    addColumn(stand, table);
    stand.append();
    await stand.fill();
    await expect(stand.sink.shadow.finish([table.schema], () => undefined, stand.signal)).rejects.toThrow(/only_one/);
    expect(await stand.sql('SELECT count(*) FROM things')).toEqual([['2']]);
    await stand.sink.shadow.discard(stand.signal);
    expect(await leftovers(stand.place)).toEqual([]);
  });
});

/** What pg_dump would say of the table, but for its new column. */
async function described(stand: ShadowStand): Promise<unknown> {
  const one = async (sql: string): Promise<unknown> => stand.sql(sql);
  return {
    table: await one("SELECT relowner::regrole, relacl, reloptions, relreplident, obj_description(oid, 'pg_class'), (SELECT reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid) FROM pg_class c WHERE oid = 'things'::regclass"),
    indexes: await one("SELECT indexdef, obj_description((schemaname || '.' || quote_ident(indexname))::regclass, 'pg_class') FROM pg_indexes WHERE tablename = 'things' ORDER BY 1"),
    constraints: await one("SELECT conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conrelid = 'things'::regclass ORDER BY 1"),
    columns: await one("SELECT attname, format_type(atttypid, atttypmod), attstattarget, attnotnull, col_description(attrelid, attnum), (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum) FROM pg_attribute WHERE attrelid = 'things'::regclass AND attnum > 0 AND attname <> 'note' ORDER BY attname"),
  };
}
