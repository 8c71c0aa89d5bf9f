import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode, NEVER } from '../../../contracts/kit/log-engine-kit-common.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import { Op } from '../../../contracts/op.ts';
import { readImage } from '../../../contracts/row-image.ts';
import { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { keyOf, parseConditions, wholeKey } from '../../../hub/moments/key-value.ts';
import { tableNamed, tablePair } from '../../../hub/moments/named-table.ts';
import { resolveMoment } from '../../../hub/moments/resolve.ts';
import { ScratchFolders } from '../../../hub/moments/scratch.ts';
import { tableDiff } from '../../../hub/moments/table-diff.ts';
import { codec } from '../api/shop-log.ts';
import { FaultyFiles } from '../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../fixtures/runtime.ts';
import { noLock } from '../log/embedded/no-lock.ts';
import { column, fillPast, ITEMS_1, ITEMS_2, PastWriter, PAST_END, START, table } from './past-log.ts';

let files: FaultyFiles;
let engine: EmbeddedLogEngine;
let log: SourceLog;

beforeEach(async () => {
  files = new FaultyFiles(seededRandom(3));
  engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), { segmentBytes: 512, lock: noLock });
  log = await engine.open('past', { create: true });
});
afterEach(() => engine[Symbol.asyncDispose]());

/** `+ 1,one`, `- 2,two`, `~ 1,one > 1,uno (name)`, in the order in which they come. */
async function diff(name: string, from: number, to: number): Promise<string[]> {
  const pair = await tablePair(log, name, from, to, NEVER);
  const text = (image: Buffer | null): string => (image === null ? '' : readImage(image).map((cell) => (cell === null ? 'NULL' : String(cell))).join());
  const lines: string[] = [];
  for await (const portion of tableDiff(log, { pair, files, directory: '/data/sorting/diff', signal: NEVER, memoryBytes: 4096 })) {
    for (const { kind, before, after, columns, count } of portion) {
      const times = count === 1 ? '' : ` x${count}`;
      if (kind === 'changed') lines.push(`~ ${text(before)} > ${text(after)} (${columns.map((index) => pair.to?.schema.columns[index]?.name).join()})`);
      else lines.push(`${kind === 'added' ? '+' : '-'} ${text(after ?? before)}${times}`);
    }
  }
  expect(await files.list('/data/sorting').catch(() => [])).toEqual([]);
  return lines;
}

describe('a difference', () => {
  it('has rows that were added, removed and changed, each in the shape of its moment', async () => {
    await fillPast(log);
    expect(await diff('public.items', 5, 7)).toEqual(['+ 1,one,1.50,NULL', '+ 2,two,2.00,']);
    expect(await diff('public.items', 7, 10)).toEqual(['~ 1,one,1.50,NULL > 1,uno,1.50,NULL (name)', '- 2,two,2.00,', '+ 3,three,3.00,x, "y"']);
    expect(await diff('public.items', 7, 13)).toEqual(['~ 1,one,1.50,NULL > 1,uno,2.50,7 (title,price)', '- 2,two,2.00,', '+ 3,three,3.00,7', '+ 4,four,4.00,9']);
    expect(await diff('public.items', 10, PAST_END)).toEqual(['- 1,uno,1.50,NULL', '- 3,three,3.00,x, "y"', '+ 5,five,5.00,NULL']);
    expect(await diff('public.items', 13, 13)).toEqual([]);
    expect(await diff('public.words', 13, 17)).toEqual(['+ a', '+ b']);
    expect(await diff('public.words', 16, PAST_END)).toEqual(['- a']);
    expect(await diff('public.words', 5, 16)).toEqual(['+ a x2', '+ b']);
  });

  it('does not have rows that a change of shape alone has touched, nor those that were written again as they were', async () => {
    await fillPast(log);
    await using writer = await log.openWriter(() => undefined);
    const past = new PastWriter();
    past.begin('source', 20, 800).row(Op.update, ITEMS_2, null, ['5', 'five', '5.00', null]).commit();
    past.begin('source', 21, 801).schema({ ...ITEMS_2, version: 3, columns: [...ITEMS_2.columns, column(6, 'added', { kind: 'int32' }, 'integer', '1')] }).commit();
    await writer.append(past.take());
    await writer.flush();
    expect(await diff('public.items', PAST_END, 21)).toEqual([]);
  });

  it('is the same above a horizon, and none can be asked for below it', async () => {
    await fillPast(log);
    const whole = await diff('public.items', 13, PAST_END);
    await log.compact(13, { memoryBytes: 1 << 20, share: 1 }, NEVER);
    const { horizon } = log.state();
    expect(horizon).toBeGreaterThan(0);
    expect(await diff('public.items', 13, PAST_END)).toEqual(whole);
    await expectCode(diff('public.items', horizon - 1, PAST_END), 'LOG_BELOW_HORIZON');
  });

  it('follows a table by its source through a rename, and tells tables of one name apart', async () => {
    await using writer = await log.openWriter(() => undefined);
    const past = new PastWriter();
    const renamed = { ...ITEMS_1, version: 2, name: 'goods' };
    const anew = table(7, 1, 'items', ITEMS_1.columns, [0], '99');
    const otherKey = table(8, 1, 'goods', ITEMS_1.columns, [1], ITEMS_1.sourceTableId);
    past.begin('source', 1, 1).schema(ITEMS_1).row(Op.create, ITEMS_1, null, ['1', 'one', '1.00', null]).commit();
    past.begin('source', 2, 2).schema(renamed).row(Op.create, renamed, null, ['2', 'two', '2.00', null]).commit();
    past.begin('source', 3, 3).schema(anew).row(Op.create, anew, null, ['1', 'new', '1.00', null]).commit();
    past.begin('source', 4, 4).control(1, { type: 'removed' }).schema(otherKey).row(Op.create, otherKey, null, ['1', 'one', '1.00', null]).commit();
    await writer.append(past.take());
    await writer.flush();
    expect(await diff('public.goods', 2, 4)).toEqual(['+ 2,two,2.00,NULL']);
    // Of a table made anew under the name rows are compared where its key is the same; the older one goes on as `goods`.
    expect(await diff('public.items', 2, 6)).toEqual(['~ 1,one,1.00,NULL > 1,new,1.00,NULL (name)']);
    expect(await diff('public.items', 4, 6)).toEqual(['+ 1,new,1.00,NULL']);
    // With another key no row of before is one of after.
    expect(await diff('public.goods', 4, 9)).toEqual(['- 1,one,1.00,NULL', '- 2,two,2.00,NULL', '+ 1,one,1.00,NULL']);
    expect((await tableNamed(log, 'public.goods', 2, NEVER)).schema.name).toBe('items');
    await expectCode(tableNamed(log, 'public.items', 4, NEVER), 'TABLE_UNKNOWN');
    await expect(tableNamed(log, 'public.items', 4, NEVER)).rejects.toMatchObject({ remedy: expect.stringContaining('Name a moment at which there was the table') as string });
    await expectCode(tableNamed(log, 'public.item', 9, NEVER), 'TABLE_UNKNOWN');
    await expectCode(tableNamed(log, 'public.*', 9, NEVER), 'CONFIG_TABLE_PATTERN');
  });

  it('that finds no room, or a disk that fails, says so and leaves nothing behind', async () => {
    await using writer = await log.openWriter(() => undefined);
    const past = new PastWriter();
    past.begin('source', 1, 1).schema(ITEMS_1).commit();
    await writer.append(past.take());
    for (let batch = 0; batch < 20; batch++) {
      past.begin('source', 2, 2);
      for (let key = 0; key < 500; key++) past.row(Op.create, ITEMS_1, null, [`${batch}/${key}`, 'x'.repeat(100), '1.00', null]);
      await writer.append(past.commit().take());
    }
    await writer.flush();
    const { highWatermark } = log.state();
    for (const [operation, code, expected] of [['write', 'ENOSPC', 'LOG_DISK_FULL'], ['create', 'EIO', 'LOG_WRITE_FAILED'], ['make-directory', 'EIO', 'LOG_WRITE_FAILED']] as const) {
      files.fail({ operation, path: 'sorting', code });
      await expectCode(diff('public.items', 1, highWatermark), expected);
      expect(await files.list('/data/sorting').catch(() => [])).toEqual([]);
    }
    expect(await diff('public.items', 1, highWatermark)).toHaveLength(10_000);
  });

  it('looks up few rows of the base, and walks through it for many', { timeout: 60_000 }, async () => {
    await using writer = await log.openWriter(() => undefined);
    const past = new PastWriter();
    past.begin('source', 1, 1).schema(ITEMS_1).commit();
    const rows = 12_000;
    for (let key = 0; key < rows; key++) past.begin('source', 2 + key, 2).row(Op.create, ITEMS_1, null, [String(key), 'before', '1.00', null]).commit();
    await writer.append(past.take());
    past.begin('source', 2, 2).row(Op.create, ITEMS_1, null, ['last', 'before', '1.00', null]).commit();
    await writer.append(past.take());
    await writer.flush();
    const { highWatermark } = log.state();
    await log.compact(highWatermark, { memoryBytes: 1 << 20, share: 1 }, NEVER);
    for (let key = 0; key < rows; key += 2) {
      const before = [String(key), 'before', '1.00', null];
      past.begin('source', 2, 3);
      if (key % 4 === 0) past.row(Op.delete, ITEMS_1, before, null);
      else past.row(Op.update, ITEMS_1, null, key % 8 === 2 ? before : [String(key), 'after', '1.00', null]);
      past.commit();
    }
    await writer.append(past.take());
    await writer.flush();
    const { horizon } = log.state();
    expect(horizon).toBe(rows + 1);
    const lines = await diff('public.items', horizon, log.state().highWatermark);
    expect(lines.filter((line) => line.startsWith('~'))).toHaveLength(rows / 8);
    expect(lines.filter((line) => line.startsWith('-'))).toHaveLength(rows / 4);
    expect(lines.filter((line) => line.startsWith('+'))).toEqual(['+ last,before,1.00,NULL']);
  });
});

describe('moments of a log whose commit times go back', () => {
  const context = { codecs: [codec], now: START / 1000 + 3_600_000, signal: NEVER };
  const at = (seconds: number): string => new Date(START / 1000 + seconds * 1000).toISOString();

  it('are the last transaction before the running maximum passes them', async () => {
    await fillPast(log);
    const offsets = await Promise.all([99, 100, 150, 199, 200, 299, 300, 699].map((seconds) => resolveMoment(at(seconds), log, context)));
    // The transaction of 150 s was committed, by its clock, before the one of 200 s that stands before it in the log.
    expect(offsets).toEqual([0, 7, 7, 7, 10, 10, 12, 17]);
    expect(await resolveMoment('-50m', log, context)).toBe(17);
    expect(await resolveMoment('lsn:0/4', log, context)).toBe(10);
    expect(await resolveMoment('end', log, context)).toBe(PAST_END);
    await expectCode(resolveMoment(at(3601), log, context), 'OFFSET_RANGE');
    await expectCode(resolveMoment('20', log, context), 'OFFSET_RANGE');
    await expectCode(resolveMoment('lsn:x', log, context), 'POSITION_SYNTAX');
    await expectCode(resolveMoment('lsn:0/1', log, { ...context, codecs: [] }), 'POSITION_SYNTAX');
    await expectCode(resolveMoment('2 hours ago', log, context), 'MOMENT_SYNTAX');
  });

  it('cannot be told below the horizon', async () => {
    await fillPast(log);
    await log.compact(10, { memoryBytes: 1 << 20, share: 1 }, NEVER);
    const { horizon } = log.state();
    expect(horizon).toBeGreaterThan(0);
    expect(await resolveMoment('begin', log, context)).toBe(horizon);
    await expectCode(resolveMoment(at(50), log, context), 'LOG_BELOW_HORIZON');
    await expectCode(resolveMoment(String(horizon - 1), log, context), 'LOG_BELOW_HORIZON');
  });
});

describe('a key as people write it', () => {
  const lines = table(3, 1, 'lines', [column(1, 'order', { kind: 'int64' }, 'bigint'), column(2, 'ref', { kind: 'uuid' }, 'uuid'), column(3, 'raw', { kind: 'bytes' }, 'bytea')], [0, 1]);

  it.each([
    [['7'], ITEMS_1, ['7']],
    [['id=+007'], ITEMS_1, ['7']],
    [['ref=A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'order=-1'], lines, ['-1', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']],
  ])('%j', (texts, schema, values) => {
    expect(wholeKey(texts, schema).toString('latin1')).toBe(values.map((value) => `\0\0\0${String.fromCharCode(value.length)}${value}`).join(''));
  });

  it('may hold what stands between column and value', () => {
    const named = table(4, 1, 'named', [column(1, 'name', { kind: 'text', length: null, fixed: false }, 'text')], [0]);
    expect(wholeKey(['a=b'], named).toString()).toContain('a=b');
    expect(wholeKey(['name=name=b'], named).toString()).toContain('name=b');
  });

  it.each([[['7', 'id=7']], [['name=x']], [['seven']], [[]]])('%j is none of the table', (texts) => {
    expect(() => wholeKey(texts, ITEMS_1)).toThrow(/cannot be told/);
  });

  it('is no whole one where columns are missing, and then picks out rows', () => {
    expect(() => wholeKey(['order=1'], lines)).toThrow('its key is order, ref');
    expect(() => parseConditions(['7'], lines)).toThrow('names no column');
    expect(() => parseConditions(['bogus=7'], ITEMS_1), 'also where the key is one column').toThrow('it has no column bogus');
    expect(() => parseConditions(['raw=7'], lines)).toThrow("'7' is no bytea");
    const conditions = parseConditions(['raw=\\x0aFF', 'order=1'], lines);
    expect(conditions).toEqual([{ column: 2, value: Buffer.of(10, 255) }, { column: 0, value: Buffer.from('1') }]);
    expect(keyOf(conditions, lines)).toBeNull();
    expect(parseConditions(['raw=NULL'], lines)).toEqual([{ column: 2, value: null }]);
  });
});

it('folders for sorting are each somebody\'s own, and are removed when a hub starts', async () => {
  const folders = new ScratchFolders(files, '/data', 'hub');
  const [one, two] = [folders.next(), folders.next()];
  expect(one).not.toBe(two);
  await files.makeDirectory(one);
  await files.replace(`${one}/left.run`, Buffer.from('x'));
  await folders.clear();
  expect(await files.exists(`${one}/left.run`)).toBe(false);
});
