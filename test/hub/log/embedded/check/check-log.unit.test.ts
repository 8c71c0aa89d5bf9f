import fc from 'fast-check';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../../../../contracts/change-batch.ts';
import { encodeControl } from '../../../../../contracts/control.ts';
import { buildKey } from '../../../../../contracts/key.ts';
import { expectCode, NEVER, SOURCE } from '../../../../../contracts/kit/log-engine-kit-common.ts';
import { positionAt, workloadSchema } from '../../../../../contracts/kit/log-workload.ts';
import { Op } from '../../../../../contracts/op.ts';
import { buildImage } from '../../../../../contracts/row-image.ts';
import { encodeSchema } from '../../../../../contracts/schema.ts';
import { checkLog } from '../../../../../hub/log/embedded/check/check-log.ts';
import { mendOf, type LogFinding } from '../../../../../hub/log/embedded/check/finding.ts';
import { EmbeddedLogEngine } from '../../../../../hub/log/embedded/engine.ts';
import { stoppedLog } from '../../../../../hub/log/embedded/held-log.ts';
import { FaultyFiles } from '../../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../../../fixtures/runtime.ts';
import { SMALL, writeFullLog } from '../full-log.ts';
import { checked, checkFlips, DATA, FOLDER, fullLog } from './flipped-bits.ts';
import { checkKilled } from './killed-logs.ts';

const NONE = Buffer.alloc(0);

async function namesOf(files: FaultyFiles, suffix: string): Promise<string[]> {
  return (await files.list(FOLDER)).filter((name) => name.endsWith(suffix));
}

describe('checking a log', () => {
  it('finds nothing in logs that are as they were written', async () => {
    for (let seed = 1; seed <= 4; seed++) {
      const files = await fullLog(seed);
      expect([seed, await checked(files)]).toEqual([seed, []]);
    }
  });

  it('finds nothing while a hub holds, writes and folds the log', async () => {
    const files = new FaultyFiles(seededRandom(5));
    await writeFullLog(files, DATA, { seed: 5, lives: 2 });
    await using engine = await EmbeddedLogEngine.create(DATA, createTestRuntime({ files, seed: 77 }), SMALL);
    const log = await engine.open(SOURCE, { create: false });
    await using writer = await log.openWriter(() => undefined);
    const append = async (from: number): Promise<void> => {
      for (let at = from; at < from + 40; at++) {
        const builder = new BatchBuilder(1024);
        builder.begin('source', at, at);
        builder.record(Op.create, 0, 1, log.catalog().schema(1)?.version ?? 1, buildKey([`new ${at}`]), NONE, buildImage([`new ${at}`, 'v'.repeat(50)]));
        builder.commit(positionAt(at));
        await writer.append(builder.take());
      }
      await writer.flush();
    };
    await append(1000);
    const hold = await engine.hold();
    const before = await files.list(FOLDER);
    await append(2000);
    const { highWatermark, horizon } = log.state();
    expect(await log.compact(highWatermark, { memoryBytes: 1 << 20, share: 1 }, NEVER)).toBeGreaterThan(horizon);
    const findings: LogFinding[] = [];
    const [held] = hold.folder.logs;
    if (held === undefined) throw new Error('nothing is held');
    const summary = await checkLog({ files, data: DATA, log: held, scratch: null, found: (finding) => findings.push(finding), progress: () => undefined, signal: NEVER });
    expect(findings).toEqual([]);
    expect(summary.highWatermark).toBeLessThan(highWatermark);
    expect(await files.list(FOLDER)).toEqual(expect.arrayContaining(before.filter((name) => name !== 'manifest')));
    await hold[Symbol.asyncDispose]();
    const after = await files.list(FOLDER);
    expect(before.filter((name) => !after.includes(name)).length).toBeGreaterThan(2);
    expect(await checked(files)).toEqual([]);
  });

  it('finds nothing in a segment of which all was taken back but a position', async () => {
    const files = new FaultyFiles(seededRandom(6));
    await using engine = await EmbeddedLogEngine.create(DATA, createTestRuntime({ files, seed: 6 }), SMALL);
    const log = await engine.open(SOURCE, { create: true });
    {
      await using writer = await log.openWriter(() => undefined);
      const builder = new BatchBuilder(1024);
      builder.keepalive(positionAt(6));
      await writer.append(builder.take());
      builder.begin('source', 7, 7);
      builder.record(Op.schema, 0, 1, 1, NONE, NONE, encodeSchema(workloadSchema(1, 1)));
      await writer.append(builder.take());
      await writer.flush();
      await writer.rollback();
    }
    // Another epoch begins in a segment of its own.
    await using _writer = await log.openWriter(() => undefined);
    expect((await namesOf(files, '.index')).length).toBeGreaterThan(0);
    expect(await checked(files)).toEqual([]);
  });

  it('finds nothing in logs whose writer was killed, or whose machine stopped', { timeout: 60_000 }, () => checkKilled(15));

  it('finds a flipped bit in any file that a reader would meet, and no reader gets other data than was written', { timeout: 60_000 }, () => checkFlips([21], 60));

  it('names the file, the offsets and the tables of each damage, and goes on', async () => {
    const files = await fullLog(31);
    const [first, second] = await namesOf(files, '.segment');
    const [run] = await namesOf(files, '.run');
    const [index] = await namesOf(files, '.index');
    if (first === undefined || second === undefined || run === undefined || index === undefined) throw new Error('the log is too small');
    files.damage(join(FOLDER, first), 600);
    files.damage(join(FOLDER, second), 900);
    files.damage(join(FOLDER, run), 40);
    files.damage(join(FOLDER, index), 20);
    const findings = await checked(files);
    expect(findings.filter(({ kind }) => kind === 'damage').map(({ file }) => file).toSorted()).toEqual([first, run, second].toSorted());
    expect(findings.filter(({ kind }) => kind === 'index').map(({ file }) => file)).toContain(index);
    const ofSecond = findings.find(({ file }) => file === second);
    expect(ofSecond?.bytes?.from).toBeLessThanOrEqual(900);
    expect(ofSecond?.bytes?.to).toBeGreaterThanOrEqual(900);
    expect(ofSecond?.offsets?.to).toBeGreaterThanOrEqual(ofSecond?.offsets?.from ?? 0);
    expect(ofSecond?.tables?.every((table) => table.startsWith('public.table_'))).toBe(true);
    expect(ofSecond?.mend).toContain('--damaged');
  });

  it('sends nobody to a single file of a backup for the newest segment, which no backup has as it is', () => {
    expect(mendOf('shop', 'damage', '0000000002.segment', null, true)).toMatch(/whole backup.* --past-damage/);
    expect(mendOf('shop', 'damage', '0000000002.segment', null, true)).not.toContain('--damaged');
  });

  it('finds files that are missing, short, or of another place', async () => {
    const whole = await fullLog(41);
    const segments = await namesOf(whole, '.segment');
    const [run] = await namesOf(whole, '.run');
    const [catalog] = await namesOf(whole, '.catalog');
    const [first = '', second = ''] = segments;
    if (run === undefined || catalog === undefined || segments.length < 3) throw new Error('the log is too small');
    for (const name of [first, run, catalog]) {
      const files = whole.fork();
      await files.remove(join(FOLDER, name));
      expect([name, (await checked(files)).length > 0]).toEqual([name, true]);
    }
    const short = whole.fork();
    short.place(join(FOLDER, second), short.bytes(join(FOLDER, second)).subarray(0, 700));
    expect((await checked(short)).map(({ file }) => file)).toContain(second);
    const swapped = whole.fork();
    swapped.place(join(FOLDER, second), whole.bytes(join(FOLDER, first)));
    expect((await checked(swapped)).map(({ file }) => file)).toContain(second);
  });

  it('says so where the manifest cannot be read, or is gone', async () => {
    for (const harm of ['damage', 'remove'] as const) {
      const files = await fullLog(51);
      if (harm === 'damage') files.damage(join(FOLDER, 'manifest'), 100);
      else await files.remove(join(FOLDER, 'manifest'));
      expect((await checked(files)).map(({ file, kind }) => [file, kind])).toEqual([['manifest', 'damage']]);
    }
  });

  it('finds the damage of a log that a running hub could not open', async () => {
    const files = await fullLog(71);
    const [catalog = ''] = await namesOf(files, '.catalog');
    files.damage(join(FOLDER, catalog), 200);
    await using engine = await EmbeddedLogEngine.create(DATA, createTestRuntime({ files }), SMALL);
    await expectCode(engine.open(SOURCE, { create: false }), 'LOG_CORRUPT');
    await using hold = await engine.hold();
    const [log] = hold.folder.logs;
    if (log === undefined) throw new Error('nothing is held');
    const findings: LogFinding[] = [];
    await checkLog({ files, data: DATA, log, scratch: null, found: (finding) => findings.push(finding), progress: () => undefined, signal: NEVER });
    expect(findings.map(({ kind, file, tables }) => [kind, file, tables])).toContainEqual(['damage', catalog, null]);
    files.damage(join(FOLDER, 'manifest'), 100);
    await using second = await engine.hold();
    expect(second.folder.logs).toEqual([]);
  });

  it('ends when it is asked to', async () => {
    const files = await fullLog(61);
    const log = await stoppedLog(files, DATA, 'shop');
    const ending = new AbortController();
    ending.abort(new Error('enough'));
    await expect(checkLog({ files, data: DATA, log, scratch: '/scratch', found: () => undefined, progress: () => undefined, signal: ending.signal })).rejects.toThrow('enough');
    expect(await files.exists('/scratch')).toBe(false);
  });
});

describe('what has no row to act on', () => {
  type Step = readonly ['c' | 'u' | 'd' | 't', string];

  /** A log of one table that is consistent from its beginning, with each step in a transaction of its own. */
  async function logOf(steps: readonly Step[], keyless: boolean): Promise<FaultyFiles> {
    const files = new FaultyFiles(seededRandom(1));
    await using engine = await EmbeddedLogEngine.create(DATA, createTestRuntime({ files }), { ...SMALL, segmentBytes: 600 });
    const log = await engine.open(SOURCE, { create: true });
    await using writer = await log.openWriter(() => undefined);
    const append = async (build: (builder: BatchBuilder) => void, at: number): Promise<void> => {
      const builder = new BatchBuilder(1024);
      builder.begin('source', at, at);
      build(builder);
      builder.commit(positionAt(at));
      await writer.append(builder.take());
    };
    await append((builder) => {
      builder.record(Op.schema, 0, 1, 1, NONE, NONE, encodeSchema(workloadSchema(1, 1, keyless)));
      builder.record(Op.control, 0, 1, 0, NONE, NONE, encodeControl({ type: 'copying', reason: 'first', copyState: '' }));
      builder.record(Op.control, 0, 1, 0, NONE, NONE, encodeControl({ type: 'copied', rows: 0 }));
    }, 1);
    for (const [at, [op, id]] of steps.entries()) await append((builder) => row(builder, op, id, keyless), at + 2);
    await writer.flush();
    await log.compact(Math.floor(log.state().highWatermark / 2), { memoryBytes: 1 << 20, share: 1 }, NEVER);
    return files;
  }

  function row(builder: BatchBuilder, op: Step[0], id: string, keyless: boolean): void {
    const image = buildImage([id, 'v']);
    const key = keyless ? NONE : buildKey([id]);
    if (op === 't') builder.record(Op.truncate, 0, 1, 1, NONE, NONE, NONE);
    else if (op === 'd') builder.record(Op.delete, 0, 1, 1, key, image, NONE);
    else builder.record(op === 'c' ? Op.create : Op.update, 0, 1, 1, key, op === 'u' ? image : NONE, image);
  }

  /** What may be folded has a row for each change: a fold does not remember what had none. */
  function soundAtFirst(steps: readonly Step[]): Step[] {
    const rows = new Map<string, number>();
    return steps.map(([drawn, id], at): Step => {
      const there = rows.get(id) ?? 0;
      const op = at <= steps.length / 2 && there === 0 && drawn !== 't' ? 'c' : drawn;
      if (op === 't') rows.clear();
      else if (op === 'c') rows.set(id, there + 1);
      else if (op === 'd') rows.set(id, Math.max(there - 1, 0));
      return [op, id];
    });
  }

  it('is found, over base and history, and nothing else is', { timeout: 60_000 }, async () => {
    const step = fc.tuple(fc.constantFrom('c', 'c', 'u', 'd', 't'), fc.constantFrom('a', 'b', 'c')) as fc.Arbitrary<Step>;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), fc.boolean(), async (drawn, keyless) => {
        const steps = soundAtFirst(drawn);
        const files = await logOf(steps, keyless);
        const { manifest } = await stoppedLog(files, DATA, 'shop');
        const rowless: number[] = [];
        const rows = new Map<string, number>();
        for (const [at, [op, id]] of steps.entries()) {
          const there = rows.get(id) ?? 0;
          const offset = at + 4;
          if ((op === 'u' || op === 'd') && there === 0 && offset > manifest.horizon) rowless.push(offset);
          if (op === 't') rows.clear();
          else if (op === 'd') rows.set(id, Math.max(there - 1, 0));
          else if (!keyless) rows.set(id, 1);
          else if (op === 'c' || there === 0) rows.set(id, there + 1);
        }
        const findings = await checked(files, '/scratch');
        const [found] = findings;
        expect(findings.length).toBe(rowless.length === 0 ? 0 : 1);
        if (rowless.length > 0) {
          expect(found?.offsets).toEqual({ from: Math.min(...rowless), to: Math.max(...rowless) });
          expect(found?.what).toBe(`${rowless.length} updates or deletes have no row to act on`);
          expect(found?.tables).toEqual(['public.table_1']);
        }
        expect(await files.exists('/scratch')).toBe(false);
      }),
      { numRuns: 60 },
    );
  });
});

describe('a log of which the end cannot be told', () => {
  it('is checked to its end all the same', async () => {
    const files = new FaultyFiles(seededRandom(9));
    const engine = await EmbeddedLogEngine.create(DATA, createTestRuntime({ files }), { ...SMALL, segmentBytes: 1 << 20 });
    const log = await engine.open(SOURCE, { create: true });
    const writer = await log.openWriter(() => undefined);
    for (let at = 1; at < 8; at++) {
      const builder = new BatchBuilder(1024);
      builder.begin('source', at, at);
      if (at === 1) builder.record(Op.schema, 0, 1, 1, NONE, NONE, encodeSchema(workloadSchema(1)));
      builder.record(Op.create, 0, 1, 1, buildKey([`${at}`]), NONE, buildImage([`${at}`, 'v'.repeat(60)]));
      builder.commit(positionAt(at));
      await writer.append(builder.take());
      await writer.flush();
    }
    const killed = files.crash('process');
    await engine[Symbol.asyncDispose]().catch(() => undefined);
    const [segment = ''] = (await killed.list(FOLDER)).filter((name) => name.endsWith('.segment'));
    killed.damage(join(FOLDER, segment), 1000);
    await expectCode(
      (async () => {
        await using opened = await EmbeddedLogEngine.openReadOnly(DATA, createTestRuntime({ files: killed }));
        await opened.open(SOURCE, { create: false });
      })(),
      'LOG_CORRUPT',
    );
    const findings = await checked(killed);
    expect(findings.map(({ kind, file }) => [kind, file])).toEqual([['damage', segment]]);
    expect(findings[0]?.offsets?.from).toBeGreaterThan(1);
  });
});
