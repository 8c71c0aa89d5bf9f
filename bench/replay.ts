// As the hub runs.
import '../hub/runtime/young-generation.ts';
import '../hub/runtime/old-generation.ts';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { BATCH_BYTES, BatchBuilder } from '../contracts/change-batch.ts';
import { encodeSchema, type TableSchema } from '../contracts/schema.ts';
import { buildKey } from '../contracts/key.ts';
import { Op } from '../contracts/op.ts';
import { RecordView } from '../contracts/record.ts';
import { buildImage, ImageWalker } from '../contracts/row-image.ts';
import { EmbeddedLogEngine } from '../hub/log/embedded/engine.ts';
import { nodeFiles } from '../hub/runtime/node-files.ts';
import { createRuntime } from '../hub/runtime/runtime.ts';
import { temporaryDirectory } from '../test/fixtures/temp.ts';
import { peakRssMb } from './rss.ts';
import type { Bench } from './runner.ts';

const RECORDS = 5_000_000;
const RECORD_BYTES = 200;
const PER_TRANSACTION = 100;
const READ_BYTES = 1 << 20;
const SOURCE = 'shop';

/** Every record of a log, its op, its key and each of its columns, against reading the same files and summing them up. */
export const replayBench: Bench = {
  name: 'replay',
  baselineName: 'read + CRC-32',
  units: ['records/s'],
  goal: { target: 0.3, sense: 'at-least' },
  async prepare({ scale }, say) {
    const stack = new AsyncDisposableStack();
    try {
      const data = stack.use(await temporaryDirectory('bench-replay')).path;
      const records = Math.max(1000, Math.floor(RECORDS * scale));
      say(`writing ${records} records of ${RECORD_BYTES} bytes`);
      await writeLog(data, records);
      const folder = join(data, 'log', SOURCE);
      const segments = (await nodeFiles.list(folder)).filter((name) => name.endsWith('.segment')).map((name) => join(folder, name));
      return {
        async baseline() {
          const began = performance.now();
          for (const path of segments) await sumOf(path);
          return { figures: [records / ((performance.now() - began) / 1000)], rssMb: 0 };
        },
        async tidemark() {
          await using engine = await EmbeddedLogEngine.openReadOnly(data, createRuntime({ logLevel: 'error' }));
          const log = await engine.open(SOURCE, { create: false });
          const began = performance.now();
          const visited = await visit(log);
          const seconds = (performance.now() - began) / 1000;
          if (visited !== records) throw new Error(`${visited} of ${records} records were visited`);
          return { figures: [records / seconds], rssMb: await peakRssMb(process.pid) };
        },
        [Symbol.asyncDispose]: () => stack.disposeAsync(),
      };
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  },
};

async function sumOf(path: string): Promise<number> {
  const file = await nodeFiles.open(path, 'read');
  try {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    let sum = 0;
    for (let at = 0; ; ) {
      const read = await file.read(buffer, at);
      if (read === 0) return sum;
      sum = crc32(buffer.subarray(0, read), sum);
      at += read;
    }
  } finally {
    await file.close();
  }
}

/** Answers how many rows were visited. */
async function visit(log: Awaited<ReturnType<EmbeddedLogEngine['open']>>): Promise<number> {
  const view = new RecordView();
  const walker = new ImageWalker();
  let rows = 0;
  let seen = 0;
  for await (const batch of log.read({ after: 0, follow: false, transient: true, signal: new AbortController().signal })) {
    for (view.reset(batch.records); view.next(); ) {
      if (view.op !== Op.create) continue;
      rows++;
      seen += view.bytes[view.keyStart] as number;
      for (walker.reset(view.bytes, view.afterStart, view.afterEnd); walker.next(); ) seen += walker.kind + walker.end - walker.start;
    }
  }
  if (seen <= rows) throw new Error('the columns were not visited');
  return rows;
}

async function writeLog(data: string, records: number): Promise<void> {
  await using engine = await EmbeddedLogEngine.create(data, createRuntime({ logLevel: 'error' }));
  const log = await engine.open(SOURCE, { create: true });
  await using writer = await log.openWriter(() => undefined);
  const builder = new BatchBuilder();
  builder.begin('source', 1, 1);
  builder.record(Op.schema, 0, 1, 1, NONE, NONE, encodeSchema(SCHEMA));
  builder.commit(Buffer.alloc(8));
  for (let id = 0; id < records; id += PER_TRANSACTION) {
    builder.begin('source', id + 2, 1_790_000_000_000_000 + id);
    for (let at = id; at < Math.min(id + PER_TRANSACTION, records); at++) addRow(builder, at);
    const position = Buffer.alloc(8);
    position.writeUInt32BE(id, 4);
    builder.commit(position);
    if (builder.length >= BATCH_BYTES) await writer.append(builder.take());
  }
  await writer.append(builder.take());
  await writer.flush();
}

/** Six columns, as a row of orders has them. */
function addRow(builder: BatchBuilder, id: number): void {
  const text = String(id).padStart(10, '0');
  const key = buildKey([text]);
  const image = buildImage([text, String(id % 50_000), 'paid', `${id % 1000}.50`, '2026-11-21 10:11:12.000345+00', null]);
  const filler = RECORD_BYTES - 28 - key.length - image.length - 4;
  builder.record(Op.create, 0, 1, 1, key, NONE, buildImage([text, String(id % 50_000), 'paid', `${id % 1000}.50`, '2026-11-21 10:11:12.000345+00', 'n'.repeat(filler)]));
}

const NONE = Buffer.alloc(0);

const SCHEMA: TableSchema = {
  tableId: 1, version: 1, sourceTableId: '1', namespace: 'public', name: 'orders', keyKind: 'primary', key: [0],
  columns: ['id', 'customer', 'status', 'total', 'placed_at', 'note'].map((name, index) => ({
    number: index + 1, name, type: { kind: 'text', length: null, fixed: false }, nativeType: 'text', nullable: true,
    constantDefault: null, fill: null, generated: 'no', identity: 'no',
  })),
};
