import { afterAll, beforeAll, expect, test } from 'vitest';
import { SinkModel } from '../../../contracts/kit/sink-model.ts';
import type { Finding } from '../../../contracts/finding.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { PostgresSink } from '../../../sinks/postgres/sink.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { type ReplicaPlace, replicaPlace, sinkConfig } from './replica-place.ts';
import { columnsOf } from './replica-stand.ts';

let server: PostgresServer;
const { signal } = new AbortController();

beforeAll(async () => {
  server = await startPostgres();
  await server.query('CREATE ROLE mirror LOGIN; CREATE ROLE other LOGIN');
});

afterAll(() => server?.[Symbol.asyncDispose]());

const THINGS: TableSchema = new SinkModel().createTable('shop', 'things', columnsOf({ id: 'integer', a: 'text' }), ['id']).schema;

async function check(place: ReplicaPlace, tables: readonly TableSchema[] = [THINGS], user = 'mirror'): Promise<Finding[]> {
  await using sink = new PostgresSink(sinkConfig(place.url(user)), createTestRuntime());
  return await sink.check(tables, signal);
}

/** A database in which the role may make schemas, and the table stands as `statements` make it. */
async function placeWith(...statements: readonly string[]): Promise<ReplicaPlace> {
  const place = await replicaPlace(server);
  await place.reader.query(`GRANT CREATE ON DATABASE ${place.database} TO mirror`);
  await place.reader.query('CREATE SCHEMA shop AUTHORIZATION mirror');
  for (const sql of statements) await place.reader.query(sql);
  return place;
}

const MADE = 'CREATE TABLE shop.things (id integer PRIMARY KEY, a text)';
const OWNED = 'ALTER TABLE shop.things OWNER TO mirror';

test('a database that the role may fill has no fault', async () => {
  await using place = await placeWith();
  expect(await check(place)).toEqual([expect.objectContaining({ severity: 'ok', code: 'replica' })]);
  const { rowCount } = await place.reader.query("SELECT FROM pg_namespace WHERE nspname = 'tidemark'");
  expect(rowCount, 'nothing is changed').toBe(0);
});

/** What is made, what is found, and whether the remedy is a statement that mends it. */
const FAULTS: readonly [code: string, severity: Finding['severity'], statements: readonly string[], mends?: false][] = [
  ['replica-rights', 'error', [MADE, 'GRANT USAGE ON SCHEMA shop TO mirror']],
  ['replica-rights', 'warning', [MADE, 'GRANT SELECT, INSERT, UPDATE, DELETE ON shop.things TO mirror']],
  ['replica-owner', 'warning', [MADE]],
  ['replica-rows', 'error', [MADE, OWNED, "INSERT INTO shop.things VALUES (1, 'x')"]],
  ['replica-row-security', 'error', [MADE, 'GRANT ALL ON shop.things TO mirror', 'ALTER TABLE shop.things ENABLE ROW LEVEL SECURITY']],
  ['replica-triggers', 'error', [MADE, OWNED, 'CREATE TABLE shop.uses (thing integer REFERENCES shop.things)']],
  ['replica-column', 'warning', ['CREATE TABLE shop.things (id integer PRIMARY KEY)', OWNED]],
  ['replica-column-type', 'warning', ['CREATE TABLE shop.things (id bigint PRIMARY KEY, a text)', OWNED]],
  ['replica-extra-column', 'error', ['CREATE TABLE shop.things (id integer PRIMARY KEY, a text, mine text NOT NULL)', OWNED]],
  ['replica-key', 'warning', ['CREATE TABLE shop.things (id integer NOT NULL, a text)', OWNED]],
  ['replica-kind', 'error', ["CREATE VIEW shop.things AS SELECT 1 AS id, 'x' AS a"], false],
];

for (const [code, severity, statements, mends] of FAULTS) {
  test(`${code} (${severity}): ${statements.at(-1)}`, async () => {
    await using place = await placeWith(...statements);
    const found = (await check(place)).find((finding) => finding.code === code);
    expect(found).toMatchObject({ severity, table: 'shop.things' });
    if (mends === false) return;
    await place.reader.query(found?.remedy ?? '');
    expect((await check(place)).map((finding) => finding.code)).not.toContain(code);
    await server.query('ALTER ROLE mirror NOBYPASSRLS');
    await server.query('REVOKE SET ON PARAMETER session_replication_role FROM mirror');
  });
}

test('a role that may make neither schema, in a database that has neither', async () => {
  await using place = await replicaPlace(server);
  const findings = await check(place, [THINGS], 'other');
  expect(findings.map(({ code, severity }) => [code, severity])).toEqual([['replica-create', 'error'], ['replica-create', 'error']]);
  for (const { remedy } of findings) await place.reader.query(remedy);
  expect(await check(place, [THINGS], 'other')).toEqual([expect.objectContaining({ severity: 'ok' })]);
});

test('a trigger that fires always, and a type that is not there', async () => {
  await using place = await placeWith(
    MADE, OWNED,
    'CREATE FUNCTION shop.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$',
    'CREATE TRIGGER t AFTER INSERT ON shop.things FOR EACH ROW EXECUTE FUNCTION shop.f()',
    'ALTER TABLE shop.things ENABLE ALWAYS TRIGGER t',
  );
  const tagged = new SinkModel().createTable('shop', 'tagged', [
    { name: 'id', type: { kind: 'int32' }, nativeType: 'integer', nullable: false },
    { name: 'tags', type: { kind: 'array', element: { kind: 'hstore' } }, nativeType: 'public.hstore[]' },
  ], ['id']).schema;
  const findings = await check(place, [THINGS, tagged]);
  expect(findings).toContainEqual(expect.objectContaining({ code: 'replica-trigger-always', severity: 'warning' }));
  expect(findings).toContainEqual(expect.objectContaining({ code: 'replica-type', severity: 'error', table: 'shop.tagged', what: 'the replica has no type public.hstore[]' }));
});

test('two tables that would be written to one, and a server that is not there', async () => {
  await using place = await placeWith();
  const config = sinkConfig(place.url('mirror'), { optionsOf: () => ({ as: 'shop.same' }) });
  await using sink = new PostgresSink(config, createTestRuntime());
  const another = { ...THINGS, name: 'others' };
  expect(await sink.check([THINGS, another], signal)).toContainEqual(expect.objectContaining({ code: 'replica-name', severity: 'error' }));
  await using lost = new PostgresSink(sinkConfig('postgres://nobody@127.0.0.1:1/x'), createTestRuntime());
  expect(await lost.check([], signal)).toEqual([expect.objectContaining({ code: 'replica-reach', severity: 'error' })]);
});
