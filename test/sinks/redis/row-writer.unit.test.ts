import { describe, expect, test } from 'vitest';
import { BatchBuilder } from '../../../contracts/change-batch.ts';
import { modelColumn } from '../../../contracts/kit/sink-model.ts';
import { Op } from '../../../contracts/op.ts';
import { RecordView } from '../../../contracts/record.ts';
import { buildImage, PLACEHOLDER, type CellValue } from '../../../contracts/row-image.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { KeyScratch } from '../../../sinks/redis/key-scratch.ts';
import type { TableOptions } from '../../../sinks/redis/options.ts';
import { ChunkPool, CommandBuffer } from '../../../sinks/redis/resp/command-buffer.ts';
import { ReplyReader } from '../../../sinks/redis/resp/reply-reader.ts';
import { Before, rowWriter } from '../../../sinks/redis/row-writer.ts';
import { layoutOf } from '../../../sinks/redis/table-layout.ts';

const SCHEMA: TableSchema = {
  tableId: 1, version: 1, sourceTableId: '1', namespace: 'public', name: 'things', keyKind: 'primary', key: [0],
  columns: [
    modelColumn({ name: 'id', type: { kind: 'int64' }, nativeType: 'bigint' }, 1),
    modelColumn({ name: 'a "b"', type: { kind: 'text', length: null, fixed: false }, nativeType: 'text' }, 2),
    modelColumn({ name: 'raw', type: { kind: 'bytes' }, nativeType: 'bytea' }, 3),
  ],
};

/** The commands of one row, as words; bytes as latin1. */
function commands(options: TableOptions, cells: readonly CellValue[], before: number): string[][] {
  const builder = new BatchBuilder(1024);
  builder.begin('source', 1, 0);
  builder.record(Op.create, 0, 1, 1, Buffer.alloc(0), Buffer.alloc(0), buildImage(cells));
  const { records } = builder.take();
  const key = new KeyScratch();
  key.append(Buffer.from('t:1'), 0, 3);
  const out = new CommandBuffer(new ChunkPool());
  rowWriter(layoutOf(SCHEMA, [SCHEMA], options, 'own:')).put(out, key, new RecordView().seek(records, 0), before);
  const reader = new ReplyReader();
  const chunk = out.take();
  reader.push(Buffer.from(chunk.bytes));
  const all: string[][] = [];
  for (let reply = reader.value(); reply !== undefined; reply = reader.value()) all.push((reply as Buffer[]).map((word) => word.toString('latin1')));
  expect(all.length).toBe(chunk.commands);
  return all;
}

const ROW = ['1', 'x', Buffer.from([0, 13, 10, 255])] as const;

describe('a hash', () => {
  test('has a field for each column, its canonical text or bytes', () => {
    expect(commands({}, ROW, Before.row)).toEqual([['HSET', 't:1', 'id', '1', 'a "b"', 'x', 'raw', '\0\r\n\xff']]);
  });

  test('has no field for null: it is taken away where it may be there', () => {
    const row = ['1', null, null];
    expect(commands({}, row, Before.nothing)).toEqual([['HSET', 't:1', 'id', '1']]);
    expect(commands({}, row, Before.row)).toEqual([['HSET', 't:1', 'id', '1'], ['HDEL', 't:1', 'a "b"', 'raw']]);
    expect(commands({}, row, Before.anything)).toEqual([['UNLINK', 't:1'], ['HSET', 't:1', 'id', '1']]);
  });

  test('does not exist without a field', () => {
    const columns = ['raw'];
    expect(commands({ columns }, ['1', 'x', null], Before.nothing)).toEqual([]);
    expect(commands({ columns, ttl: 5000 }, ['1', 'x', null], Before.row)).toEqual([['UNLINK', 't:1']]);
  });

  test('expires', () => {
    expect(commands({ columns: { id: 'i' }, ttl: 5000 }, ROW, Before.row)).toEqual([['HSET', 't:1', 'i', '1'], ['PEXPIRE', 't:1', '5000']]);
  });
});

describe('JSON', () => {
  const text = '{"id":1,"a \\"b\\"":"x","raw":"AA0K/w=="}';

  test('as a string', () => {
    expect(commands({ value: 'json' }, ROW, Before.row)).toEqual([['SET', 't:1', text]]);
    expect(commands({ value: 'json', ttl: 5000 }, ROW, Before.row)).toEqual([['SET', 't:1', text, 'PX', '5000']]);
    expect(commands({ value: 'json' }, ['1', null, null], Before.row)).toEqual([['SET', 't:1', '{"id":1,"a \\"b\\"":null,"raw":null}']]);
  });

  test('as a document', () => {
    expect(commands({ value: 'redisjson' }, ROW, Before.row)).toEqual([['JSON.SET', 't:1', '$', text]]);
    expect(commands({ value: 'redisjson', ttl: 5000 }, ROW, Before.row)).toEqual([['JSON.SET', 't:1', '$', text], ['PEXPIRE', 't:1', '5000']]);
  });
});

test.each([{}, { value: 'json' }] as const)('what is no whole row of the table is refused (%j)', (options) => {
  expect(() => commands(options, ['1', PLACEHOLDER, null], Before.row)).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
  expect(() => commands(options, ['1', 'x'], Before.row)).toThrow(expect.objectContaining({ code: 'RECORD_CORRUPT' }));
});
