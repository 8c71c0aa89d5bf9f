import { afterAll, beforeAll, describe, test } from 'vitest';
import { sinkKit } from '../../../contracts/kit/sink-kit.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { replicaPlace } from './replica-place.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server?.[Symbol.asyncDispose]());

describe('the Postgres sink', () => {
  const cases = sinkKit({ place: () => replicaPlace(server), keyless: true, reshapes: true, seed: 1 });
  for (const { name, run } of cases) test(`${name}`, run);

  const seed = Date.now() % 1_000_000;
  const random = sinkKit({ place: () => replicaPlace(server), keyless: true, reshapes: true, seed }).filter(({ name }) => name.startsWith('random'));
  for (const { name, run } of random) test(`${name} (seed ${seed})`, run);
});
