/** Writes a transaction of `bytes` bytes that never commits into the log in `folder`, says so, and waits to be killed. */
import { BatchBuilder } from '../../../../contracts/change-batch.ts';
import { buildKey } from '../../../../contracts/key.ts';
import { transactionBatch } from '../../../../contracts/kit/log-workload.ts';
import { Op } from '../../../../contracts/op.ts';
import { buildImage } from '../../../../contracts/row-image.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';

const [folder = '', bytes = ''] = process.argv.slice(2);
const NONE = Buffer.alloc(0);
const ROWS = 4000;
const image = buildImage(['0123456789', 'x'.repeat(180)]);
const key = buildKey(['0123456789']);

const engine = await EmbeddedLogEngine.create(folder, createTestRuntime());
const log = await engine.open('shop', { create: true });
const writer = await log.openWriter(() => undefined);
await writer.append(transactionBatch({ rows: 5, position: 1, schema: true }));
const builder = new BatchBuilder();
builder.begin('source', 99, 1_700_000_000_000_099);
for (let written = 0; written < Number(bytes); ) {
  for (let row = 0; row < ROWS; row++) builder.record(Op.create, 0, 1, 1, key, NONE, image);
  const batch = builder.take();
  written += batch.records.length;
  await writer.append(batch);
}
await writer.flush();
process.stdout.write('written');
setInterval(() => undefined, 1000);
