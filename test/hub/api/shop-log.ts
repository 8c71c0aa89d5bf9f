import type { Column, TableSchema } from '../../../contracts/schema.ts';
import { BatchBuilder } from '../../../contracts/change-batch.ts';
import { encodeControl } from '../../../contracts/control.ts';
import { buildKey } from '../../../contracts/key.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { encodeMessage } from '../../../contracts/message.ts';
import { Flag, Op } from '../../../contracts/op.ts';
import { PLACEHOLDER, buildImage, type CellValue } from '../../../contracts/row-image.ts';
import type { PositionCodec } from '../../../contracts/position.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import { encodeSchema } from '../../../contracts/schema.ts';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';
import { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';

const NOTHING = Buffer.alloc(0);
/** 2026-11-21T10:11:12.000345Z */
export const COMMIT_TIME = 1_795_255_872_000_345;

function column(number: number, name: string, type: LogicalType, nativeType: string): Column {
  return { number, name, type, nativeType, nullable: false, constantDefault: null, fill: null, generated: 'no', identity: 'no' };
}

function table(tableId: number, name: string, columns: readonly Column[], key: readonly number[]): TableSchema {
  return {
    tableId, version: 1, sourceTableId: String(16384 + tableId), namespace: 'public', name, columns,
    keyKind: key.length === 0 ? 'none' : 'primary', key,
  };
}

export const ORDERS = table(
  1,
  'orders',
  [
    column(1, 'id', { kind: 'int64' }, 'bigint'),
    column(2, '__proto__', { kind: 'text', length: null, fixed: false }, 'text'),
    column(3, 'photo', { kind: 'bytes' }, 'bytea'),
    column(4, '7', { kind: 'decimal', precision: null, scale: null }, 'numeric'),
  ],
  [0],
);
export const NOTES = table(2, 'Odd "notes".x', [column(1, 'note', { kind: 'text', length: null, fixed: false }, 'text')], []);

/** Positions of these logs are single bytes. */
export function printPosition(position: Uint8Array): string | null {
  return position.length === 0 ? null : `0/${position[0]}`;
}

/** Reads those positions, written `lsn:0/2`. */
export const codec: PositionCodec = {
  compare: (a, b) => Buffer.compare(a, b),
  format: (position) => printPosition(position) ?? '',
  parse(text) {
    const number = /^lsn:0\/(\d{1,3})$/.exec(text)?.[1];
    if (number === undefined) throw new TidemarkError('POSITION_SYNTAX', `'${text}' is no position`);
    return Buffer.of(Number(number));
  },
};

/** Records of the log as `fillShop` writes it; the high watermark. */
export const RECORDS = 13;

/** A log of the source `shop` with one record of every kind, and a few of a second table. */
export async function fillShop(engine: EmbeddedLogEngine): Promise<void> {
  const log = await engine.open('shop', { create: true });
  await using writer = await log.openWriter(() => undefined);
  const builder = new BatchBuilder();
  const row = (op: number, table: TableSchema, key: Buffer, before: readonly CellValue[] | null, after: readonly CellValue[] | null, flags = 0): void =>
    builder.record(op, flags, table.tableId, 1, key, before === null ? NOTHING : buildImage(before), after === null ? NOTHING : buildImage(after));
  const one = buildKey(['1']);
  builder.begin('hub', 0, 0);
  for (const schema of [ORDERS, NOTES]) builder.record(Op.schema, 0, schema.tableId, 1, NOTHING, NOTHING, encodeSchema(schema));
  builder.record(Op.control, 0, 1, 0, NOTHING, NOTHING, encodeControl({ type: 'copying', reason: 'first', copyState: '' }));
  row(Op.read, ORDERS, one, null, ['1', 'copied', Buffer.of(0, 255), '1e400']);
  builder.record(Op.control, 0, 1, 0, NOTHING, NOTHING, encodeControl({ type: 'copied', rows: 1 }));
  builder.commit(Buffer.from([0]));
  builder.begin('source', 4711, COMMIT_TIME, 'elsewhere');
  row(Op.create, ORDERS, buildKey(['2']), null, ['2', 'Grüße "…"\n', Buffer.alloc(0), '0.10']);
  row(Op.update, ORDERS, one, null, ['1', null, PLACEHOLDER, 'NaN'], Flag.incomplete);
  row(Op.create, NOTES, NOTHING, null, ['a']);
  builder.commit(Buffer.from([1]));
  builder.begin('source', 4712, COMMIT_TIME);
  row(Op.delete, ORDERS, one, ['1', 'x', null, '9007199254740993'], null, Flag.keyChange);
  builder.record(Op.truncate, 0, 2, 1, NOTHING, NOTHING, NOTHING);
  builder.record(Op.message, 0, 0, 0, NOTHING, NOTHING, encodeMessage('app', Buffer.from([0xff])));
  builder.record(Op.control, 0, 0, 0, NOTHING, NOTHING, encodeControl({ type: 'gap', why: 'a test' }));
  row(Op.create, NOTES, NOTHING, null, ['b'], Flag.replayed | Flag.notApplied);
  builder.commit(Buffer.from([2]));
  await writer.append(builder.take());
  await writer.flush();
}

/** A long log of one table in many batches: `count` records after the schema. */
export async function fillLong(engine: EmbeddedLogEngine, count: number): Promise<void> {
  const log = await engine.open('long', { create: true });
  await using writer = await log.openWriter(() => undefined);
  const builder = new BatchBuilder();
  builder.begin('source', 1, COMMIT_TIME);
  builder.record(Op.schema, 0, 1, 1, NOTHING, NOTHING, encodeSchema(ORDERS));
  builder.commit(Buffer.from([0]));
  for (let id = 1; id <= count; id++) {
    builder.begin('source', id + 1, COMMIT_TIME);
    builder.record(Op.create, 0, 1, 1, buildKey([String(id)]), NOTHING, buildImage([String(id), 'x'.repeat(200), Buffer.alloc(8), '1']));
    builder.commit(Buffer.from([1]));
    if (builder.length > 100_000) await writer.append(builder.take());
  }
  if (!builder.isEmpty) await writer.append(builder.take());
  await writer.flush();
}

/** A log of the source `broken`: a sound record, then one whose image is not that of its table. */
export async function fillBroken(engine: EmbeddedLogEngine): Promise<void> {
  const log = await engine.open('broken', { create: true });
  await using writer = await log.openWriter(() => undefined);
  const builder = new BatchBuilder();
  builder.begin('source', 1, COMMIT_TIME);
  builder.record(Op.schema, 0, 1, 1, NOTHING, NOTHING, encodeSchema(ORDERS));
  builder.record(Op.create, 0, 1, 2, buildKey(['1']), NOTHING, buildImage(['1']));
  builder.commit(Buffer.from([0]));
  await writer.append(builder.take());
  await writer.flush();
}

/** An engine over a fresh folder, open for writing. */
export function openEngine(folder: string, runtime: Runtime): Promise<EmbeddedLogEngine> {
  return EmbeddedLogEngine.create(folder, runtime);
}
