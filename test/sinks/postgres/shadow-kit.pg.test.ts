import { afterAll, beforeAll, describe, test } from 'vitest';
import { type SinkPlace, sinkKit } from '../../../contracts/kit/sink-kit.ts';
import { shadowNames, shadowTable } from '../../../sinks/postgres/shadow/shadow-names.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { replicaPlace } from './replica-place.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server?.[Symbol.asyncDispose]());

/** What is applied to a shadow, read from the shadow's tables. */
async function shadowPlace(): Promise<SinkPlace> {
  const place = await replicaPlace(server);
  const tableOf = (tableId: number) => {
    const { schema, name } = shadowTable(shadowNames('replica'), tableId);
    return { namespace: schema, name };
  };
  return {
    sink: () => place.sink().shadow.open(() => true),
    rows: (table) => place.rows({ ...table, ...tableOf(table.tableId) }),
    addUnique: (table, column) => place.addUnique?.({ ...table, ...tableOf(table.tableId) }, column) ?? Promise.resolve(),
    [Symbol.asyncDispose]: () => place[Symbol.asyncDispose](),
  };
}

describe('the shadow of a Postgres sink', () => {
  // A shadow of another log is removed instead; a generation is a table of its own.
  const others = new Set(['the checkpoint of another log is refused']);
  const cases = sinkKit({ place: shadowPlace, keyless: true, reshapes: true, seed: 2 }).filter(({ name }) => !others.has(name));
  for (const { name, run } of cases) test(name, run);
});
