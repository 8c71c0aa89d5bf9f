import { expect, it } from 'vitest';
import { startPostgres } from '../fixtures/embedded-postgres.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';
import { startTestHub, testConfig, testSink, testSource } from '../fixtures/test-hub.ts';
import { underLoad, verify } from './verifying.ts';

it('finds no difference in sixty verifications of a shop at full work', { timeout: 20 * 60_000 }, async () => {
  await using server = await startPostgres({ databases: ['source', 'replica'], settings: { max_prepared_transactions: 10 } });
  await using directory = await temporaryDirectory('verify-long');
  const config = testConfig(directory.path, testSource(server.url('source')), [testSink('replica', 'postgres', server.url('replica'))]);
  await using running = await underLoad({ server, source: 'source', started: () => startTestHub(config), rounds: 60 });
  await running.hub.untilCaughtUp(AbortSignal.timeout(60_000));
  expect((await verify(running.hub)).outcome).toBe('equal');
});
