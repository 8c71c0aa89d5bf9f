import { test } from 'vitest';
import { startPostgres } from '../../fixtures/embedded-postgres.ts';
import { CASES, compareTypes } from './snapshot-types.ts';

test('every type has the same bytes at the source, as expected, and at the replica', async () => {
  await using server = await startPostgres();
  await compareTypes(server, server, CASES);
}, 120_000);
