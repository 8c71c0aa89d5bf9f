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
  for (const seed of [1, Date.now() % 1_000_000]) {
    const cases = sinkKit({ place: () => replicaPlace(server), keyless: true, reshapes: true, seed });
    for (const { name, run } of cases) if (seed === 1 || name.startsWith('random')) test(`${name} (seed ${seed})`, run);
  }
});
