import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../../../../contracts/kit/log-engine-kit-common.ts';
import { seededUnit } from '../../../../contracts/kit/log-workload.ts';
import { ExternalSorter } from '../../../../hub/log/embedded/runs/external-sort.ts';
import { MergeCursor, type Duplicates } from '../../../../hub/log/embedded/runs/merge.ts';
import type { EntryCursor } from '../../../../hub/log/embedded/runs/run-format.ts';
import { RunReader } from '../../../../hub/log/embedded/runs/run-reader.ts';
import { RunWriter, writeAll } from '../../../../hub/log/embedded/runs/run-writer.ts';
import { FaultyFiles } from '../../../fixtures/faulty-files.ts';
import { seededRandom } from '../../../fixtures/runtime.ts';

interface Entry {
  readonly table: number;
  readonly key: string;
  readonly value: string;
}

const compare = (a: Entry, b: Entry): number => a.table - b.table || Buffer.compare(Buffer.from(a.key, 'hex'), Buffer.from(b.key, 'hex'));

async function collect(cursor: EntryCursor): Promise<Entry[]> {
  const entries: Entry[] = [];
  while (await cursor.next()) {
    entries.push({
      table: cursor.tableId,
      key: cursor.bytes.toString('hex', cursor.keyStart, cursor.keyEnd),
      value: cursor.bytes.toString('hex', cursor.keyEnd, cursor.valueEnd),
    });
  }
  return entries;
}

async function folder(): Promise<FaultyFiles> {
  const files = new FaultyFiles(seededRandom(1));
  await files.makeDirectory('/runs');
  return files;
}

async function writeRun(files: FaultyFiles, path: string, entries: readonly Entry[]): Promise<RunReader> {
  await using writer = await RunWriter.create(files, path);
  for (const { table, key, value } of entries) await writer.add(table, Buffer.from(key, 'hex'), Buffer.from(value, 'hex'));
  const written = await writer.finish(true);
  expect(written.entries).toBe(entries.length);
  expect(written.bytes).toBe(files.bytes(path).length);
  return await RunReader.open(files, path);
}

/** Incompressible, so that the blocks and the levels of the index are many. */
function manyEntries(count: number, valueBytes: number): Entry[] {
  const unit = seededUnit(3);
  const random = (bytes: number): string => Buffer.from(Array.from({ length: bytes }, () => Math.floor(unit() * 256))).toString('hex');
  return Array.from({ length: count }, () => ({ table: 1 + Math.floor(unit() * 3), key: random(4 + Math.floor(unit() * 200)), value: random(valueBytes) })).toSorted(compare);
}

describe('runs', () => {
  it('gives back what was written, in order, from any key on, and by key', async () => {
    const files = await folder();
    const entries = manyEntries(12_000, 60);
    await using run = await writeRun(files, '/runs/a', entries);
    expect(run.footer.height).toBeGreaterThanOrEqual(1);
    expect(await collect(run.cursor())).toEqual(entries);
    for (let at = 0; at < entries.length; at += 2111) {
      const entry = entries[at];
      if (entry === undefined) continue;
      const from = { tableId: entry.table, key: Buffer.from(entry.key, 'hex') };
      expect(await collect(run.cursor(from))).toEqual(entries.slice(at));
      expect((await run.find(entry.table, from.key))?.toString('hex')).toBe(entry.value);
      expect(await run.find(entry.table, Buffer.concat([from.key, Buffer.from([0])]))).toBeNull();
      const between = { tableId: entry.table, key: Buffer.concat([from.key, Buffer.from([0])]) };
      expect((await collect(run.cursor(between))).length).toBe(entries.length - at - 1);
    }
    expect(await run.find(0, Buffer.from('a'))).toBeNull();
    expect(await run.find(9, Buffer.from('a'))).toBeNull();
  });

  it('has an index of several levels when keys are long', async () => {
    const files = await folder();
    const entries = Array.from({ length: 1500 }, (_, at) => ({
      table: 1,
      key: Buffer.concat([Buffer.from(String(at).padStart(8, '0')), Buffer.alloc(20_000, at % 251)]).toString('hex'),
      value: '00',
    }));
    await using run = await writeRun(files, '/runs/a', entries);
    expect(run.footer.height).toBeGreaterThanOrEqual(2);
    expect(await collect(run.cursor())).toEqual(entries);
    const entry = entries[1234];
    const from = { tableId: 1, key: Buffer.from(entry?.key ?? '', 'hex') };
    expect((await collect(run.cursor(from))).length).toBe(1500 - 1234);
    expect(await run.find(1, from.key)).toEqual(Buffer.from([0]));
  });

  it('may be empty, and may hold one huge entry', async () => {
    const files = await folder();
    await using empty = await writeRun(files, '/runs/empty', []);
    expect(await collect(empty.cursor())).toEqual([]);
    expect(await collect(empty.cursor({ tableId: 1, key: Buffer.from('a') }))).toEqual([]);
    expect(await empty.find(1, Buffer.from('a'))).toBeNull();
    const huge = [{ table: 1, key: 'aa', value: Buffer.alloc(3 << 20, 7).toString('hex') }];
    await using run = await writeRun(files, '/runs/huge', huge);
    expect(await collect(run.cursor())).toEqual(huge);
  });

  it('keeps equal keys in order; a look-up finds the last', async () => {
    const files = await folder();
    const entries = Array.from({ length: 5000 }, (_, at) => ({ table: 1, key: 'aa', value: at.toString(16).padStart(60, '0') }));
    await using run = await writeRun(files, '/runs/a', [...entries, { table: 1, key: 'bb', value: '01' }]);
    expect((await run.find(1, Buffer.from('aa', 'hex')))?.toString('hex')).toBe(entries.at(-1)?.value);
    expect((await collect(run.cursor({ tableId: 1, key: Buffer.from('aa', 'hex') }))).length).toBe(5001);
  });

  it('refuses entries out of order, and leaves no file of an unfinished run', async () => {
    const files = await folder();
    {
      await using writer = await RunWriter.create(files, '/runs/a');
      await writer.add(2, Buffer.from('b'), Buffer.alloc(0));
      expect(() => writer.add(2, Buffer.from('a'), Buffer.alloc(0))).toThrow('out of order');
      expect(() => writer.add(1, Buffer.from('c'), Buffer.alloc(0))).toThrow('out of order');
    }
    expect(files.paths()).toEqual([]);
  });

  it('tells damage anywhere in the file, by an error or by equal entries', async () => {
    const files = await folder();
    const entries = manyEntries(2000, 40);
    await (await writeRun(files, '/runs/a', entries))[Symbol.asyncDispose]();
    const size = files.bytes('/runs/a').length;
    for (let at = 0; at < size; at += 1499) {
      const harmed = files.fork();
      harmed.damage('/runs/a', at, 1 << (at % 8));
      const reading = (async () => {
        await using run = await RunReader.open(harmed, '/runs/a');
        return await collect(run.cursor());
      })();
      const outcome = await reading.then((read) => read, (error: unknown) => error);
      if (Array.isArray(outcome)) expect(outcome).toEqual(entries);
      else expect(outcome).toMatchObject({ name: 'TidemarkError' });
    }
  });
});

describe('merge', () => {
  const entry = fc.record({ table: fc.integer({ min: 1, max: 2 }), key: fc.constantFrom('', '00', '0000', '01', '02', 'ff'), value: fc.integer({ min: 16, max: 255 }).map((value) => value.toString(16)) });

  it.each(['all', 'newest'] as const)('equals a sort of everything (%s)', async (duplicates: Duplicates) => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(entry, { maxLength: 12 }), { maxLength: 7 }), async (lists) => {
        const files = await folder();
        const runs: RunReader[] = [];
        const sorted = lists.map((list) => (duplicates === 'all' ? list.toSorted(compare) : newest(list)));
        for (const [index, list] of sorted.entries()) runs.push(await writeRun(files, `/runs/${index}`, list));
        const merged = await collect(new MergeCursor(runs.map((run) => run.cursor()), duplicates));
        const flat = sorted.flat();
        expect(merged).toEqual(duplicates === 'all' ? flat.toSorted(compare) : newest(flat));
      }),
      { numRuns: 60, interruptAfterTimeLimit: 3000 },
    );
  });
});

/** Sorted, and of each key the last only. */
function newest(entries: readonly Entry[]): Entry[] {
  return [...new Map(entries.map((entry) => [`${entry.table}/${entry.key}`, entry])).values()].toSorted(compare);
}

describe('external sort', () => {
  it.each(['all', 'newest'] as const)('sorts more than its memory, and leaves no file (%s)', async (duplicates: Duplicates) => {
    const files = await folder();
    const unit = seededUnit(8);
    const entries: Entry[] = [];
    let most = 0;
    const options = { files, directory: '/runs', memoryBytes: 50_000, fanIn: 3, duplicates };
    {
      await using sorter = new ExternalSorter(options);
      for (let at = 0; at < 24_000; at++) {
        const one = { table: 1 + Math.floor(unit() * 2), key: Math.floor(unit() * 0xffffff).toString(16).padStart(6, '0').slice(0, 4), value: at.toString(16).padStart(8, '0') };
        entries.push(one);
        await sorter.add(one.table, Buffer.from(one.key, 'hex'), Buffer.from(one.value, 'hex'));
        most = Math.max(most, sorter.memoryBytes);
      }
      expect(most).toBeLessThan(650_000);
      expect(files.paths().length).toBeGreaterThan(3);
      const sorted = await collect(await sorter.sorted());
      expect(sorted).toEqual(duplicates === 'all' ? entries.toSorted(compare) : newest(entries));
      expect(files.paths().length).toBeLessThanOrEqual(3);
    }
    expect(files.paths()).toEqual([]);
  });

  it('stays in memory when it fits', async () => {
    const files = await folder();
    await using sorter = new ExternalSorter({ files, directory: '/runs', duplicates: 'newest' });
    for (const key of ['b', 'a', 'b']) await sorter.add(1, Buffer.from(key), Buffer.from(key.toUpperCase()));
    expect((await collect(await sorter.sorted())).length).toBe(2);
    expect(files.paths()).toEqual([]);
  });

  it('leaves no file behind when the disk is full', async () => {
    const files = await folder();
    files.capacity = 200_000;
    const unit = seededUnit(8);
    {
      await using sorter = new ExternalSorter({ files, directory: '/runs', memoryBytes: 100_000, duplicates: 'all' });
      const filling = (async () => {
        for (let at = 0; at < 60_000; at++) await sorter.add(1, Buffer.from(Array.from({ length: 20 }, () => unit() * 256)), Buffer.alloc(8));
      })();
      await expectCode(filling, 'LOG_DISK_FULL');
    }
    expect(files.paths()).toEqual([]);
  });

  it('writes a cursor to a run', async () => {
    const files = await folder();
    await using source = await writeRun(files, '/runs/a', [{ table: 1, key: '01', value: '02' }]);
    await using writer = await RunWriter.create(files, '/runs/b');
    await writeAll(writer, source.cursor());
    await writer.finish(false);
    await using copy = await RunReader.open(files, '/runs/b');
    expect(await collect(copy.cursor())).toEqual([{ table: 1, key: '01', value: '02' }]);
  });
});
