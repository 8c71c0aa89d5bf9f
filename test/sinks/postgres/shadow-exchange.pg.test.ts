import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { addColumn, oidOf, tenRows } from './shadow-rows.ts';
import { leftovers, ShadowStand } from './shadow-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server?.[Symbol.asyncDispose]());

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
