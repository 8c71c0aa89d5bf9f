import pg from 'pg';
import { expect } from 'vitest';
import { Catalog } from '../../../contracts/catalog.ts';
import type { ChangeBatch } from '../../../contracts/change-batch.ts';
import { NEVER } from '../../../contracts/kit/connector-kit-common.ts';
import { addedUp, sumsByPlace, sumsOfRows } from '../../../contracts/kit/row-sums.ts';
import { SinkModel } from '../../../contracts/kit/sink-model.ts';
import { RecordView } from '../../../contracts/record.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { RecordRef, SinkStart } from '../../../contracts/sink.ts';
import { canonicalSettingsSql } from '../../../contracts/types/postgres-session.ts';
import type { PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { ARRAY_CASES, TYPE_CASES, TYPE_EXTENSIONS, TYPE_SETUP, TYPE_VALUES_SETUP, type TypeCase, typeTables } from '../../fixtures/postgres-types.ts';
import { TestSource } from '../../connectors/postgres/source-fixture.ts';
import { replicaPlace } from './replica-place.ts';
import { cellsOf, keysOf } from './snapshot-rows.ts';

const EXTENSIONS = TYPE_EXTENSIONS.map((name) => `CREATE EXTENSION ${name};`).join(' ');
/** Every type that a replica can have, with its values. */
export const CASES = [...TYPE_CASES, ...ARRAY_CASES].filter((one) => !one.printedOnly);

async function gathered(batches: AsyncIterable<ChangeBatch>): Promise<ChangeBatch[]> {
  const all: ChangeBatch[] = [];
  for await (const batch of batches) all.push(batch);
  return all;
}

function refs(batches: readonly ChangeBatch[]): RecordRef[] {
  const found: RecordRef[] = [];
  const view = new RecordView();
  for (const batch of batches) for (view.reset(batch.records); view.next(); ) found.push({ batch, at: view.at });
  return found;
}

/** Tables of the source with these cases: every value as the source prints it, expected and found at the replica. */
export async function compareTypes(source: PostgresServer, replica: PostgresServer, cases: readonly TypeCase[]): Promise<void> {
  const tables = typeTables(cases);
  await using origin = await TestSource.make(source);
  await origin.query(`${TYPE_SETUP} ${TYPE_VALUES_SETUP} ${tables.map((table) => table.create).join('; ')}`);
  for (const table of tables) await origin.query(table.insert(0));
  await using connector = origin.connector();
  const schemas = (await connector.tables(NEVER)).filter(({ name }) => name.startsWith('types_')).map((schema, index): TableSchema => ({ ...schema, tableId: index + 1, version: 1 }));
  await using place = await replicaPlace(replica);
  // Extensions are not made by the sink; that a multirange comes with its range, the log does not say.
  const ranges = replica.majorVersion < 14 ? '' : 'CREATE TYPE float_range AS RANGE (subtype = float8, multirange_type_name = float_ranges);';
  await place.reader.query(`SET search_path = public; ${EXTENSIONS} ${ranges} CREATE TABLE spare (a int, b int); SET search_path = ''`);
  await using sink = place.sink();
  const { logId, epoch } = new SinkModel();
  const start: SinkStart = {
    logId,
    catalog: Catalog.from(schemas.map((schema) => ({ tableId: schema.tableId, versions: [{ offset: 1, schema }], state: { state: 'consistent', since: 1 }, consistent: [{ from: 1, to: null }] }))),
  };
  await sink.open(start, NEVER);
  await using shown = await connector.snapshot([], NEVER);
  const rows = new Map<TableSchema, ChangeBatch[]>();
  for (const schema of schemas) rows.set(schema, await gathered(shown.rows(schema, NEVER)));
  const { durable } = sink.apply({
    after: 0, to: 10, endsOpen: false, cursor: null, epoch, position: Buffer.from('position'), commitTime: 1_700_000_000_000_000, records: 10, bytes: 0,
    steps: [
      ...schemas.map((schema) => ({ kind: 'schema' as const, before: null, after: schema })),
      { kind: 'rows', tables: schemas.map((schema) => ({ schema, truncate: false, copying: false, deletes: [], upserts: [], inserts: refs(rows.get(schema) ?? []) })) },
    ],
  }, NEVER);
  await durable;
  await using snapshot = await sink.snapshot(start, NEVER);
  for (const schema of schemas) {
    const log = rows.get(schema) ?? [];
    const expected = await Promise.all(log.map((batch) => snapshot.expected(schema, batch, NEVER)));
    const found = await cellsOf(snapshot.rows(schema, NEVER));
    expect(found, schema.name).toEqual(await cellsOf(log));
    expect(expected, schema.name).toEqual(log);
    expect(await cellsOf(snapshot.find(schema, expected.flatMap(keysOf), NEVER)), schema.name).toEqual(found);
    expect(found.size).toBeGreaterThan(1);
    const request = { seed: [12, 34], buckets: 16 } as const;
    const sums = addedUp(sumsOfRows(log, request));
    expect(await sumsByPlace(shown, schema, request, NEVER), schema.name).toEqual(source.majorVersion >= 14 ? sums : null);
    expect(await sumsByPlace(snapshot, schema, request, NEVER), schema.name).toEqual(replica.majorVersion >= 14 ? sums : null);
  }
}

/** What becomes of the values of the source at a server of another version. */
export interface Known {
  /** The server has the type, and prints every value as the source does. */
  readonly cases: readonly TypeCase[];
  /** Types of which it takes a value for another one. */
  readonly altered: readonly string[];
}

export async function knownTo(source: PostgresServer, replica: PostgresServer, cases: readonly TypeCase[]): Promise<Known> {
  await using origin = await TestSource.make(source);
  await origin.query(`${TYPE_SETUP} ${TYPE_VALUES_SETUP}`);
  await origin.query(SETTINGS);
  await using place = await replicaPlace(replica);
  const { reader } = place;
  // Before version 14 the types of users that there are multiranges of cannot be made.
  await reader.query(`${SETTINGS}; ${replica.majorVersion < 14 ? EXTENSIONS : `${TYPE_SETUP} CREATE TABLE spare (a int, b int)`}`);
  const known: TypeCase[] = [];
  const altered: string[] = [];
  for (const one of cases) {
    const values = one.values.map((value) => `format('%s', (${value})::${one.type})`);
    try {
      const printed = (await origin.query<{ v: string[] }>(`SELECT ARRAY[${values.join(', ')}]::text[] AS v`))[0]?.v ?? [];
      const read = printed.map((value) => `format('%s', ${pg.escapeLiteral(value)}::${one.type})`);
      const { rows } = await reader.query<{ v: string[] }>(`SELECT ARRAY[${read.join(', ')}]::text[] AS v`);
      if (JSON.stringify(rows[0]?.v) === JSON.stringify(printed)) known.push(one);
      else altered.push(one.type);
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
    }
  }
  return { cases: known, altered };
}

const SETTINGS = `${canonicalSettingsSql()}; SET search_path = public`;
