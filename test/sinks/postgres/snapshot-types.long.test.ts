import { expect, test } from 'vitest';
import { startPostgres } from '../../fixtures/embedded-postgres.ts';
import { CASES, compareTypes, knownTo } from './snapshot-types.ts';

/** Older servers read `\377` as a backslash: a value that they cannot have, and that a comparison finds. */
const ALTERED: Readonly<Record<number, readonly string[]>> = { 13: ['"char"', '"char"[]'], 15: [], 17: [] };

test.each([13, 15, 17] as const)('every type has the same bytes at the source and at a replica of version %i', async (version) => {
  await using source = await startPostgres();
  await using replica = await startPostgres({ version });
  const { cases, altered } = await knownTo(source, replica, CASES);
  expect(altered).toEqual(ALTERED[version]);
  expect(cases.length).toBeGreaterThan(100);
  await compareTypes(source, replica, cases);
}, 600_000);

test.each([14, 15, 16, 17] as const)('every type is summed by servers of version %i as the hub sums it', async (version) => {
  await using server = await startPostgres({ version });
  const { cases, altered } = await knownTo(server, server, CASES);
  expect(altered).toEqual([]);
  expect(cases.length).toBeGreaterThan(100);
  await compareTypes(server, server, cases);
}, 600_000);
