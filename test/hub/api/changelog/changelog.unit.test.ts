import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../../../contracts/change-batch.ts';
import { buildKey } from '../../../../contracts/key.ts';
import type { SourceLog } from '../../../../contracts/log-engine.ts';
import { Op } from '../../../../contracts/op.ts';
import { encodeSchema } from '../../../../contracts/schema.ts';
import { changelogLines, type ChangelogOptions } from '../../../../hub/api/changelog/changelog.ts';
import { formatMicroseconds } from '../../../../hub/api/changelog/record-json.ts';
import type { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../../fixtures/temp.ts';
import { COMMIT_TIME, fillLong, fillShop, openEngine, ORDERS, printPosition, RECORDS } from '../shop-log.ts';

let folder: TemporaryDirectory;
let engine: EmbeddedLogEngine;
let shop: SourceLog;

beforeAll(async () => {
  folder = await temporaryDirectory('changelog');
  engine = await openEngine(folder.path, createTestRuntime());
  await fillShop(engine);
  await fillLong(engine, 3000);
  shop = await engine.open('shop', { create: false });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

async function lines(log: SourceLog, options: Omit<ChangelogOptions, 'signal' | 'printPosition'>): Promise<string[]> {
  let text = '';
  for await (const piece of changelogLines(log, { ...options, printPosition, signal: new AbortController().signal })) text += piece;
  expect(text === '' || text.endsWith('\n')).toBe(true);
  return text.split('\n').slice(0, -1);
}

describe('the changelog as JSON', () => {
  it('has a line per record, columns in their order as canonical text', async () => {
    const all = await lines(shop, { table: '*.*' });
    expect(all).toHaveLength(RECORDS);
    expect(all[5]).toBe(
      '{"offset":6,"op":"c","flags":[],"table":"public.orders","tableId":1,"version":1,' +
        '"transaction":{"kind":"source","xid":4711,"time":"2026-11-21T10:11:12.000345Z","origin":"elsewhere","position":"0/1"},' +
        '"key":{"id":"2"},"before":null,"after":{"id":"2","__proto__":"Grüße \\"…\\"\\n","photo":{"$bytes":""},"7":"0.10"}}',
    );
    expect(all.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { offset: 1, op: 's', table: 'public.orders', schema: { key: ['id'], columns: [{ name: 'id', type: 'bigint' }, {}, {}, {}] } },
      { offset: 2, op: 's', table: 'public."Odd ""notes"".x"', schema: { key: [], columns: [{ name: 'note' }] } },
      { offset: 3, op: 'h', control: { type: 'copying', reason: 'first' }, transaction: { kind: 'hub' } },
      { offset: 4, op: 'r', key: { id: '1' }, before: null, after: { photo: { $bytes: 'AP8=' }, 7: '1e400' } },
      { offset: 5, op: 'h', control: { type: 'copied', rows: 1 } },
      { offset: 6, op: 'c' },
      { offset: 7, op: 'u', flags: ['incomplete'], after: { id: '1', photo: { $absent: true }, 7: 'NaN' } },
      { offset: 8, op: 'c', table: 'public."Odd ""notes"".x"', key: null, after: { note: 'a' }, transaction: { xid: 4711 } },
      { offset: 9, op: 'd', flags: ['key-change'], before: { photo: null, 7: '9007199254740993' }, after: null, transaction: { xid: 4712, origin: '' } },
      { offset: 10, op: 't', table: 'public."Odd ""notes"".x"' },
      { offset: 11, op: 'm', table: null, message: { prefix: 'app', content: { $bytes: '/w==' } } },
      { offset: 12, op: 'h', table: null, control: { type: 'gap' } },
      { offset: 13, op: 'c', flags: ['not-applied', 'replayed'] },
    ]);
  });

  it('has the position of a transaction in all of its lines, also when it is larger than a batch', async () => {
    const log = await engine.open('torn', { create: true });
    await using writer = await log.openWriter(() => undefined);
    const builder = new BatchBuilder();
    const row = (id: number): void => builder.record(Op.delete, 0, 1, 1, buildKey([String(id)]), Buffer.alloc(0), Buffer.alloc(0));
    builder.begin('source', 1, COMMIT_TIME);
    builder.record(Op.schema, 0, 1, 1, Buffer.alloc(0), Buffer.alloc(0), encodeSchema(ORDERS));
    for (let id = 0; id < 6; id++) {
      row(id);
      await writer.append(builder.take());
    }
    builder.commit(Buffer.from([7]));
    builder.begin('source', 2, COMMIT_TIME);
    row(9);
    await writer.append(builder.take());
    builder.commit(Buffer.from([8]));
    await writer.append(builder.take());
    await writer.flush();
    const positions = (await lines(log, { table: '*.*' })).map((line) => (JSON.parse(line) as { transaction: { position: string } }).transaction.position);
    expect(positions).toEqual([...Array.from({ length: 7 }, () => '0/7'), '0/8']);
    expect((await lines(log, { table: '*.*', from: 3, limit: 1 }))[0]).toContain('"position":"0/7"');
  });

  it('is that of the tables asked for, with what concerns every table', async () => {
    const offsets = async (options: Omit<ChangelogOptions, 'signal' | 'printPosition'>) =>
      (await lines(shop, options)).map((line) => (JSON.parse(line) as { offset: number }).offset);
    expect(await offsets({ table: 'public.orders' })).toEqual([1, 3, 4, 5, 6, 7, 9, 11, 12]);
    expect(await offsets({ table: 'public."Odd ""notes"".x"' })).toEqual([2, 8, 10, 11, 12, 13]);
    expect(await offsets({ table: 'public.orders', from: 6, limit: 2 })).toEqual([6, 7]);
    expect(await offsets({ table: 'public.orders', from: 13 })).toEqual([]);
    expect(await offsets({ table: 'public.orders', from: 99 })).toEqual([]);
    await expect(lines(shop, { table: 'public.order' })).rejects.toMatchObject({ code: 'TABLE_UNKNOWN', message: expect.stringContaining('public.orders') as string });
    await expect(lines(shop, { table: 'orders' })).rejects.toMatchObject({ code: 'CONFIG_TABLE_PATTERN' });
  });

  it('comes in pieces, and ends when asked to', async () => {
    const long = await engine.open('long', { create: false });
    const all = await lines(long, { table: '*.orders' });
    expect(all).toHaveLength(3001);
    expect(all.map((line) => (JSON.parse(line) as { offset: number }).offset)).toEqual(Array.from({ length: 3001 }, (_, index) => index + 1));
    expect(await lines(long, { table: '*.orders', limit: 1234 })).toEqual(all.slice(0, 1234));
    const given = new AbortController();
    const reading = changelogLines(long, { table: '*.*', printPosition, signal: given.signal });
    const first = await reading.next();
    expect(String(first.value).length).toBeLessThan(200_000);
    given.abort();
    await expect((async () => { for await (const piece of reading) expect(piece).not.toBe(''); })()).rejects.toMatchObject({ code: 'ABORTED' });
  });
});

it('times are printed to the microsecond', () => {
  expect(formatMicroseconds(0)).toBe('1970-01-01T00:00:00.000000Z');
  expect(formatMicroseconds(-1)).toBe('1969-12-31T23:59:59.999999Z');
  expect(formatMicroseconds(1_795_255_872_000_345)).toBe('2026-11-21T10:11:12.000345Z');
});
