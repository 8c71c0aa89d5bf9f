import { describe, expect, test } from 'vitest';
import { BatchBuilder, ChangeBatch } from '../../../contracts/change-batch.ts';
import { buildKey } from '../../../contracts/key.ts';
import { type ModelColumn, modelColumn } from '../../../contracts/kit/sink-model.ts';
import { Op } from '../../../contracts/op.ts';
import { buildImage, type CellValue } from '../../../contracts/row-image.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { TableOptions } from '../../../sinks/redis/options.ts';
import { ReplyError, type Reply } from '../../../sinks/redis/resp/reply-reader.ts';
import { CacheImages, readCommand } from '../../../sinks/redis/snapshot-image.ts';
import { layoutOf } from '../../../sinks/redis/table-layout.ts';
import { cellsOf } from '../postgres/snapshot-rows.ts';

const COLUMNS: readonly ModelColumn[] = [
  { name: 'id', type: { kind: 'int64' }, nativeType: 'bigint', nullable: false },
  { name: 'ratio', type: { kind: 'float64' }, nativeType: 'double precision' },
  { name: 'doc', type: { kind: 'json' }, nativeType: 'json' },
  { name: 'data', type: { kind: 'bytes' }, nativeType: 'bytea' },
];

const SCHEMA: TableSchema = {
  tableId: 1, version: 1, sourceTableId: '16384', namespace: 'kit', name: 'things', keyKind: 'primary', key: [0],
  columns: COLUMNS.map((column, index) => modelColumn(column, index + 1)),
};

function imagesOf(options: TableOptions): CacheImages {
  return new CacheImages(layoutOf(SCHEMA, [SCHEMA], { key: 't:{id}', ...options }, 'tidemark:{cache}:'), (key) => key);
}

function logRows(...rows: CellValue[][]): ChangeBatch {
  const builder = new BatchBuilder(1 << 10);
  builder.begin('hub', 0, 0);
  for (const row of rows) builder.record(Op.read, 0, 7, 3, buildKey([String(row[0])]), Buffer.alloc(0), buildImage(row));
  const { count, records } = builder.take();
  return new ChangeBatch({ count, records, transactions: [], progress: null });
}

/** Rows by their Redis key. */
async function shown(batch: ChangeBatch): Promise<Record<string, readonly CellValue[]>> {
  return Object.fromEntries([...(await cellsOf([batch]))].map(([key, cells]) => [Buffer.from(key, 'hex').toString('utf8'), cells]));
}

/** What Redis holds under `t:1`, as a row. */
async function stored(options: TableOptions, reply: Reply): Promise<readonly CellValue[] | undefined> {
  return (await shown(imagesOf(options).stored([Buffer.from('t:1')], [reply])))['t:1'];
}

describe('what is expected', () => {
  test('of a hash: the bytes of the log; a null has no field', async () => {
    const rows = logRows(['1', '1e+300', '{"a": 1.0}', Buffer.from([0, 255])], ['2', null, null, null]);
    expect(await shown(imagesOf({}).expected(rows))).toEqual({ 't:1': ['1', '1e+300', '{"a": 1.0}', Buffer.from([0, 255])], 't:2': ['2', null, null, null] });
  });

  test('of JSON: the text of each member', async () => {
    const rows = logRows(['1', 'NaN', '{"a": 1.0}', Buffer.from([0, 255])], ['9007199254740993', null, null, null]);
    expect(await shown(imagesOf({ value: 'json' }).expected(rows))).toEqual({
      't:1': ['1', '"NaN"', '{"a": 1.0}', '"AP8="'], 't:9007199254740993': ['"9007199254740993"', 'null', 'null', 'null'],
    });
  });

  test('of chosen columns: the others are null, and a hash of none is none', async () => {
    const rows = logRows(['1', '0.5', null, null], ['2', null, 'null', null]);
    expect(await shown(imagesOf({ columns: ['ratio'] }).expected(rows))).toEqual({ 't:1': [null, '0.5', null, null] });
  });
});

describe('what is there', () => {
  const fields = (...pairs: string[]): Reply => pairs.map((part) => Buffer.from(part, 'utf8'));

  test('in a hash, in any order; what belongs to no column comes last', async () => {
    expect(await stored({}, fields('doc', '[]', 'id', '1'))).toEqual(['1', null, '[]', null]);
    expect(await stored({}, fields('id', '1', 'z', '2', 'a', '3'))).toEqual(['1', null, null, null, 'field a, field z']);
    expect(await stored({}, fields())).toBeUndefined();
    expect(await stored({}, new ReplyError('WRONGTYPE Operation against a key holding the wrong kind of value'))).toEqual([null, null, null, null, 'another kind of value']);
    await expect(stored({}, new ReplyError('LOADING Redis is loading the dataset in memory'))).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE', retry: 'auto' });
  });

  test('in JSON: members in any order, their text kept', async () => {
    expect(await stored({ value: 'json' }, Buffer.from('{ "doc": {"a": 1.0}, "id":1,"ratio":null,"data":"AA=="}'))).toEqual(['1', 'null', '{"a": 1.0}', '"AA=="']);
    expect(await stored({ value: 'json' }, Buffer.from('{"id":1,"id":2,"more":3}'))).toEqual(['1', null, null, null, 'member id, member more']);
    expect(await stored({ value: 'json' }, Buffer.from('[1]'))).toEqual([null, null, null, null, 'another kind of value']);
    expect(await stored({ value: 'json' }, null)).toBeUndefined();
  });

  test('in RedisJSON: values, whatever their text', async () => {
    expect(readCommand(layoutOf(SCHEMA, [SCHEMA], { value: 'redisjson' }, 'p:'))).toEqual(['JSON.GET', null]);
    const rows = logRows(['1', '1e3', '{"b": 1.50, "a": [1e2, "\\u00e9"]}', null]);
    const expected = (await shown(imagesOf({ value: 'redisjson', key: 't:{id}' }).expected(rows)))['t:1'];
    expect(await stored({ value: 'redisjson' }, Buffer.from('{"id":1,"ratio":1000.0,"doc":{"a":[100.0,"é"],"b":1.5},"data":null}'))).toEqual(expected);
    expect(await stored({ value: 'redisjson' }, Buffer.from('{"id":1,"ratio":1000.0,"doc":{"a":[100.0,"é"],"b":1.6},"data":null}'))).not.toEqual(expected);
  });
});
