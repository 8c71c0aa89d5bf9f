/**
 * Writes the golden logs of this version: `node test/hub/log/embedded/golden/generate.ts NAME` makes the folder NAME beside
 * this file, with a log in it and, in expected.ndjson, what readers get of it. A folder that is there is never written
 * again: it stands for the versions that wrote such files.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BatchBuilder, type ChangeBatch } from '../../../../../contracts/change-batch.ts';
import { encodeControl, type Control } from '../../../../../contracts/control.ts';
import { buildKey } from '../../../../../contracts/key.ts';
import { positionAt, workloadSchema } from '../../../../../contracts/kit/log-workload.ts';
import { Flag, Op } from '../../../../../contracts/op.ts';
import { buildImage, PLACEHOLDER, type CellValue } from '../../../../../contracts/row-image.ts';
import { encodeSchema, type TableSchema } from '../../../../../contracts/schema.ts';
import { EmbeddedLogEngine } from '../../../../../hub/log/embedded/engine.ts';
import { nodeFiles } from '../../../../../hub/runtime/node-files.ts';
import { createTestRuntime, SimulatedClock } from '../../../../fixtures/runtime.ts';
import { logText } from '../log-text.ts';
import { noLock } from '../no-lock.ts';

const NONE = Buffer.alloc(0);
const SOURCE = 'shop';
const TIME = 1_790_000_000_000_000;
const [ORDERS, NOTES, BAG, AUDIT] = [1, 2, 3, 4] as const;

/** Adds transactions one after the other. */
class Script {
  readonly batches: ChangeBatch[] = [];
  #position = 0;

  transaction(kind: 'source' | 'hub', build: (builder: BatchBuilder) => void, origin = ''): void {
    const builder = new BatchBuilder(1024);
    this.#position++;
    builder.begin(kind, kind === 'source' ? 700 + this.#position : 0, TIME + this.#position * 1000, origin);
    build(builder);
    builder.commit(kind === 'source' ? positionAt(this.#position) : NONE);
    this.batches.push(builder.take());
  }

  keepalive(): void {
    const builder = new BatchBuilder(1024);
    builder.keepalive(positionAt(++this.#position));
    this.batches.push(builder.take());
  }
}

function schema(builder: BatchBuilder, table: TableSchema): void {
  builder.record(Op.schema, 0, table.tableId, table.version, NONE, NONE, encodeSchema(table));
}

function control(builder: BatchBuilder, tableId: number, what: Control): void {
  builder.record(Op.control, 0, tableId, 0, NONE, NONE, encodeControl(what));
}

function row(builder: BatchBuilder, op: number, tableId: number, version: number, cells: readonly CellValue[], before: readonly CellValue[] | null = null, flags = 0): void {
  const key = tableId === BAG ? NONE : buildKey([String(cells[0])]);
  const image = buildImage(cells);
  builder.record(op, flags, tableId, version, key, before === null ? NONE : buildImage(before), op === Op.delete ? NONE : image);
}

/** Every kind of record, flag, transaction and control. */
function firstLife(): ChangeBatch[] {
  const script = new Script();
  script.transaction('hub', (builder) => {
    for (const table of [ORDERS, NOTES, BAG, AUDIT]) {
      schema(builder, workloadSchema(table, 1, table === BAG));
      control(builder, table, { type: 'copying', reason: 'first', copyState: 'begun' });
    }
  });
  script.transaction('hub', (builder) => {
    for (let id = 0; id < 20; id++) row(builder, Op.read, ORDERS, 1, [`${id}`, `order ${id}`]);
    row(builder, Op.read, NOTES, 1, ['long', 'v'.repeat(3000)], null, Flag.wide);
    control(builder, ORDERS, { type: 'chunk', range: 'a..z', rows: 20 });
  });
  script.transaction('hub', (builder) => control(builder, NOTES, { type: 'chunks-void', why: 'rewritten', copyState: 'again' }));
  script.transaction('hub', (builder) => {
    row(builder, Op.update, ORDERS, 1, ['3', 'replayed'], null, Flag.replayed);
    for (const table of [ORDERS, NOTES, BAG, AUDIT]) control(builder, table, { type: 'copied', rows: 1 });
  });
  script.transaction('source', (builder) => {
    row(builder, Op.create, ORDERS, 1, ['new', null]);
    row(builder, Op.create, BAG, 1, ['same', 'same']);
    row(builder, Op.create, BAG, 1, ['same', 'same']);
    row(builder, Op.create, BAG, 1, ['other', Buffer.from([0, 255])]);
    for (let id = 0; id < 10; id++) row(builder, Op.create, AUDIT, 1, [`${id}`, 'kept']);
  }, 'elsewhere');
  script.transaction('source', (builder) => {
    row(builder, Op.delete, ORDERS, 1, ['4', 'order 4'], ['4', 'order 4'], Flag.keyChange);
    row(builder, Op.create, ORDERS, 1, ['44', 'order 4'], null, Flag.keyChange);
    row(builder, Op.update, NOTES, 1, ['long', PLACEHOLDER], null, Flag.notApplied | Flag.incomplete);
    row(builder, Op.delete, BAG, 1, ['same', 'same'], ['same', 'same']);
    builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('{"prefix":"test","content":"aGVsbG8="}'));
  });
  script.keepalive();
  script.transaction('source', () => undefined);
  return script.batches;
}

/** A change of shape, a table emptied, one that stops, one that is removed, a gap. */
function secondLife(): ChangeBatch[] {
  const script = new Script();
  script.transaction('source', (builder) => {
    schema(builder, workloadSchema(ORDERS, 2));
    row(builder, Op.update, ORDERS, 2, ['5', 'shape two'], ['5', 'order 5']);
    schema(builder, workloadSchema(BAG, 2, true));
    row(builder, Op.update, BAG, 2, ['other', 'changed'], ['other', Buffer.from([0, 255])]);
    row(builder, Op.update, AUDIT, 1, ['3', 'changed'], ['3', 'kept']);
  });
  script.transaction('source', (builder) => {
    builder.record(Op.truncate, 0, NOTES, 1, NONE, NONE, NONE);
    row(builder, Op.create, NOTES, 1, ['after', 'emptied']);
  });
  script.transaction('hub', (builder) => control(builder, NOTES, { type: 'stopped', code: 'TEST', why: 'a test', consistentUntil: 40, recopy: false }));
  for (let id = 0; id < 20; id++) script.transaction('source', (builder) => row(builder, Op.update, ORDERS, 2, [`${(id % 14) + 6}`, `life two ${id}`]));
  return script.batches;
}

function thirdLife(): ChangeBatch[] {
  const script = new Script();
  script.transaction('source', (builder) => {
    for (let id = 0; id < 8; id++) row(builder, id % 2 === 0 ? Op.update : Op.delete, ORDERS, 2, [`${id + 6}`, `life three ${id}`], id % 2 === 0 ? null : [`${id + 6}`, '']);
  });
  script.transaction('hub', (builder) => control(builder, NOTES, { type: 'removed' }));
  script.transaction('hub', (builder) => control(builder, 0, { type: 'gap', why: 'a test' }));
  return script.batches;
}

async function generate(name: string): Promise<void> {
  const folder = join(import.meta.dirname, name);
  if (await nodeFiles.exists(folder)) throw new Error(`${folder} is there already: it is never written again`);
  const data = join(folder, 'data');
  for (const [index, batches] of [firstLife(), secondLife(), thirdLife()].entries()) {
    const runtime = createTestRuntime({ seed: index + 1, clock: new SimulatedClock() });
    await using engine = await EmbeddedLogEngine.create(data, runtime, { segmentBytes: 2048, lock: noLock });
    const log = await engine.open(SOURCE, { create: true });
    await using writer = await log.openWriter(() => undefined);
    for (const batch of batches) await writer.append(batch);
    const { highWatermark } = await writer.flush();
    if (index === 2) continue;
    const keep = ({ tableId }: TableSchema) => (tableId === AUDIT ? ({ kind: 'all' } as const) : ({ kind: 'compact' } as const));
    await log.compact(highWatermark, { memoryBytes: 1 << 20, share: 1, keep }, new AbortController().signal);
  }
  await using engine = await EmbeddedLogEngine.openReadOnly(data, createTestRuntime());
  await writeFile(join(folder, 'expected.ndjson'), await logText(await engine.open(SOURCE, { create: false })));
}

const [name] = process.argv.slice(2);
if (name === undefined) throw new Error('name the folder');
await generate(name);
