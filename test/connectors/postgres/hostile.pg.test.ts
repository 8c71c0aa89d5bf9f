import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Op } from '../../../contracts/op.ts';
import type { ConnectorUnderTest } from '../../../contracts/kit/connector-kit-common.ts';
import { startPostgres, type PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { Captured } from './captured.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const TABLE = 'CREATE TABLE t (id int PRIMARY KEY, v text)';

/** Goes on from a position that the log had when so many source transactions were in it, as after a kill. */
async function againFrom(test: ConnectorUnderTest, position: string): Promise<void> {
  await test.stop();
  test.log.position = position;
  test.restart();
  await test.run();
  await test.caughtUp();
}

describe('a message outside of transactions', () => {
  it.each([14, 18] as const)('does not take along the commit whose record follows it (version %i)', async (version) => {
    await using old = version === 18 ? null : await startPostgres({ version });
    await using captured = await Captured.begin(old ?? server, TABLE);
    captured.test.acknowledging = false;
    // The message's record stands directly before that of the commit.
    await captured.run(`BEGIN; INSERT INTO t VALUES (1); SELECT pg_logical_emit_message(false, 'ping', 'x'); COMMIT`);
    const source = captured.test.log.transactions.filter((one) => one.kind === 'source');
    expect(source).toHaveLength(2);
    expect(captured.raw().filter((record) => record.op === Op.message)).toHaveLength(1);
    const [message] = source;
    await againFrom(captured.test, message?.position ?? '');
    expect(captured.rows().map((row) => row.key)).toEqual([['1'], ['1']]);
    expect(captured.raw().filter((record) => record.op === Op.message)).toHaveLength(1);
  });
});
