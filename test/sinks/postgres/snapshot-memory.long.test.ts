import { expect, test } from 'vitest';
import { Catalog } from '../../../contracts/catalog.ts';
import type { ChangeBatch } from '../../../contracts/change-batch.ts';
import { NEVER } from '../../../contracts/kit/connector-kit-common.ts';
import { SinkModel } from '../../../contracts/kit/sink-model.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { TestSource } from '../../connectors/postgres/source-fixture.ts';
import { startPostgres } from '../../fixtures/embedded-postgres.ts';
import { replicaPlace } from './replica-place.ts';

const ROWS = 1_500_000;
const FILL = `INSERT INTO public.t SELECT n, 'customer ' || n, repeat(md5(n::text), 6) FROM generate_series(1, ${ROWS}) AS n`;
/** Above what is in use before: some batches of each place, and what the collector has not looked at yet. */
const MOST_BYTES = 96 << 20;

test('300 MB at the source and at a replica, read side by side by somebody who is slow now and then, in flat memory', async () => {
  await using server = await startPostgres();
  await using origin = await TestSource.make(server);
  await origin.query('CREATE TABLE t (id bigint PRIMARY KEY, name text, v text)');
  await origin.query(FILL);
  await using connector = origin.connector();
  const [described] = await connector.tables(NEVER);
  if (described === undefined) throw new Error('the source has no table');
  const schema: TableSchema = { ...described, tableId: 1, version: 1 };
  await using place = await replicaPlace(server);
  await using sink = place.sink();
  const { logId, epoch } = new SinkModel();
  const catalog = Catalog.from([{ tableId: 1, versions: [{ offset: 1, schema }], state: { state: 'consistent', since: 1 }, consistent: [{ from: 1, to: null }] }]);
  await sink.open({ logId, catalog }, NEVER);
  const step = { kind: 'schema' as const, before: null, after: schema };
  await sink.apply({ after: 0, to: 1, endsOpen: false, cursor: null, epoch, position: Buffer.from('p'), commitTime: 0, records: 1, bytes: 0, steps: [step] }, NEVER).durable;
  await place.reader.query(FILL);
  await using here = await connector.snapshot([], NEVER);
  await using there = await sink.snapshot({ logId, catalog }, NEVER);
  const before = used();
  let most = 0;
  const read = async (rows: AsyncIterable<ChangeBatch>): Promise<number> => {
    let count = 0;
    let batches = 0;
    for await (const batch of rows) {
      count += batch.count;
      if (++batches % 64 === 0) await new Promise((resolve) => setTimeout(resolve, 100));
      most = Math.max(most, used() - before);
    }
    return count;
  };
  expect(await Promise.all([read(here.rows(schema, NEVER)), read(there.rows(schema, NEVER))])).toEqual([ROWS, ROWS]);
  expect(most).toBeLessThan(MOST_BYTES);
}, 600_000);

function used(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
