import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BaseReader } from '../../../../contracts/base.ts';
import { lesserCursor } from '../../../../contracts/load-cursor.ts';
import { RecordView } from '../../../../contracts/record.ts';
import type { SinkStep } from '../../../../contracts/sink.ts';
import { selectTables } from '../../../../hub/config/table-patterns.ts';
import { type BaseBatch, baseBatches } from '../../../../hub/pipeline/sink/base-batches.ts';
import { placeIn } from '../../../../hub/pipeline/sink/base-load.ts';
import { BASE_START, type BasePlace, decodeLoadPlace, encodeLoadPlace, type LoadPlace } from '../../../../hub/pipeline/sink/load-place.ts';
import { MirroredTables } from '../../../../hub/pipeline/sink/mirrored-tables.ts';
import { seededRandom } from '../../../fixtures/runtime.ts';
import { patience } from './delivering.ts';
import { LoadWorld } from './loading.ts';
import { MemorySink } from './memory-sink.ts';

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const SMALL = { wholeTransactions: true, maxKeys: 7 };

let world: LoadWorld;

beforeEach(async () => {
  world = await LoadWorld.open();
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

/** Transactions of random changes in both tables. */
async function changes(random: { unit(): number }, transactions: number): Promise<void> {
  const any = (below: number): number => Math.floor(random.unit() * below);
  for (let n = 0; n < transactions; n++) {
    await world.source.commit(Array.from({ length: 1 + any(9) }, () => ({ table: 1 + any(2), key: any(60), value: random.unit() < 0.2 ? null : any(1000) })));
  }
}

/** A log of which most is in its base. */
async function folded(): Promise<number> {
  await changes(seededRandom(1), 40);
  const horizon = await world.fold();
  await changes(seededRandom(2), 4);
  expect(horizon).toBeGreaterThan(0);
  expect(world.log.state().highWatermark).toBeGreaterThan(horizon);
  return horizon;
}

describe('the filling of a sink', () => {
  it.each([{ inPlace: false }, { inPlace: true }])('goes on where it was, whichever batch fails, before or after its work (%o)', async ({ inPlace }) => {
    await folded();
    const whole = new MemorySink(SMALL, { inPlace });
    await world.fill('whole', whole);
    expect(whole.rows).toEqual(world.source.rows);
    const { handed, filled } = whole;
    expect(handed).toBeGreaterThan(8);
    for (let strike = 1; strike <= handed; strike++) {
      for (const kind of ['before', 'after'] as const) {
        const sink = new MemorySink(SMALL, { inPlace });
        let batches = 0;
        sink.fault = () => (++batches === strike ? kind : 'none');
        await world.fill(`${strike} ${kind}`, sink);
        expect(sink.rows, `${kind} batch ${strike}`).toEqual(world.source.rows);
        expect(sink.filled, `${kind} batch ${strike}`).toEqual(filled);
        expect(sink.checkpoint).toMatchObject({ offset: world.log.state().highWatermark, cursor: null });
      }
    }
  }, 60_000);

  it('begins anew when the base has moved on, and leaves nothing of the older one', async () => {
    await folded();
    for (const inPlace of [false, true]) {
      const { horizon } = world.log.state();
      const sink = new MemorySink(SMALL, { inPlace });
      sink.fault = (batch) => (batch.cursor !== null && sink.applied.length >= 4 ? 'before' : 'none');
      {
        await using life = await world.life(`moved ${inPlace}`, sink);
        await expect.poll(() => life.part.state).toBe('retrying');
      }
      expect(decodeLoadPlace(sink.checkpoint?.cursor ?? new Uint8Array())).toMatchObject({ horizon });
      expect(sink.rows.size).toBeGreaterThan(0);
      await world.releaseLease(`moved ${inPlace}`);
      // Rows that are there are gone at the source, among others.
      const [first = ''] = sink.rows.keys();
      await world.source.commit([{ table: Number(first[8]), key: Number(first.split('/')[1]), value: null }]);
      await changes(seededRandom(3), 30);
      expect(await world.fold()).toBeGreaterThan(horizon);
      sink.fault = () => 'none';
      await world.fill(`moved ${inPlace}`, sink);
      expect(sink.rows).toEqual(world.source.rows);
    }
  });

  it('begins anew when other tables are selected meanwhile', async () => {
    await folded();
    const sink = new MemorySink(SMALL);
    sink.fault = (batch) => (batch.cursor !== null && sink.applied.length >= 3 ? 'before' : 'none');
    {
      await using life = await world.life('wider', sink, { patterns: ['public.t2'] });
      await expect.poll(() => life.part.state).toBe('retrying');
    }
    sink.fault = () => 'none';
    await world.fill('wider', sink);
    expect(sink.rows).toEqual(world.source.rows);
    // Nothing joins a second time.
    const before = sink.applied.length;
    await world.fill('wider', sink);
    expect(sink.applied.length).toBe(before);
  });

  it('ends with the source\'s rows, whatever fails, is killed or moves meanwhile', async () => {
    for (let seed = SEED; seed < SEED + 4; seed++) {
      const random = seededRandom(seed);
      await changes(random, 15);
      await world.fold();
      const limits = { wholeTransactions: random.unit() < 0.5, maxKeys: 1 + Math.floor(random.unit() * 12) };
      const sink = new MemorySink(limits, { inPlace: random.unit() < 0.5 });
      const name = `random ${seed}`;
      for (let death = 0; death < 3; death++) {
        let left = 1 + Math.floor(random.unit() * 6);
        sink.fault = () => {
          left--;
          if (left > 0) return random.unit() < 0.1 ? 'after' : 'none';
          return random.unit() < 0.5 ? 'before' : 'after';
        };
        await using life = await world.life(name, sink, { bytes: random.unit() < 0.5 ? 400 : 1 << 20 });
        await expect.poll(() => left < 0 || life.part.state === 'failed' || sink.checkpoint?.offset === world.log.state().highWatermark).toBe(true);
        await life.part.stop();
        if (random.unit() < 0.3) await world.releaseLease(name);
        await changes(random, 3);
        await world.fold();
      }
      sink.fault = () => 'none';
      // One that had all of an older base, and was let go of, may be behind by now: it says so.
      const behind = sink.inPlace === null && (sink.checkpoint?.offset ?? 0) > 0 && (sink.checkpoint?.offset ?? 0) < world.log.state().horizon;
      if (behind) continue;
      await world.fill(name, sink);
      expect(sink.rows, `SEED=${seed}`).toEqual(world.source.rows);
    }
  }, 60_000);

  it('is begun again, or says that it is behind, when the horizon is forced past it', async () => {
    await folded();
    for (const inPlace of [true, false]) {
      const { horizon } = world.log.state();
      await changes(seededRandom(4), 20);
      const sink = new MemorySink(SMALL, { inPlace });
      const gate = Promise.withResolvers<void>();
      sink.gate = gate.promise;
      await using life = await world.life(`forced ${inPlace}`, sink);
      await expect.poll(() => sink.handed).toBeGreaterThan(0);
      const { highWatermark } = world.log.state();
      expect(await world.log.compact(highWatermark, { memoryBytes: 1 << 20, share: 1, force: true }, patience())).toBeGreaterThan(horizon);
      gate.resolve();
      if (inPlace) {
        await life.deliver.reached(highWatermark, patience());
        expect(sink.rows).toEqual(world.source.rows);
      } else {
        await expect.poll(() => life.part.error?.code, { timeout: 5000 }).toBe('SINK_BEHIND');
        expect(life.part.state).toBe('failed');
      }
    }
  });

  it('has several batches on their way, and is not to be waited for before its end', async () => {
    await folded();
    const sink = new MemorySink(SMALL);
    const gate = Promise.withResolvers<void>();
    sink.gate = gate.promise;
    sink.accepts = 'at once';
    await using life = await world.life('held', sink);
    await expect.poll(() => sink.handed).toBeGreaterThan(3);
    expect(life.deliver.progress).toMatchObject({ offset: 0, caughtUp: false });
    expect(life.deliver.progress.loading?.estimatedRows).toBeGreaterThan(0);
    const waits = life.deliver.reached(0, patience());
    expect(await Promise.race([waits, Promise.resolve('not yet')])).toBe('not yet');
    gate.resolve();
    await waits;
    expect(life.deliver.progress.loading).toBeNull();
    await life.deliver.reached(world.log.state().highWatermark, patience());
    expect(sink.rows).toEqual(world.source.rows);
  });

  it('keeps to its budget of bytes', async () => {
    await folded();
    const sink = new MemorySink(SMALL);
    sink.accepts = 'at once';
    const gate = Promise.withResolvers<void>();
    sink.gate = gate.promise;
    await using life = await world.life('budget', sink, { bytes: 1000 });
    await expect.poll(() => sink.handed).toBeGreaterThan(0);
    await world.runtime.clock.sleep(100);
    const { handed } = sink;
    expect(handed).toBeLessThan(6);
    gate.resolve();
    await life.deliver.reached(world.log.state().highWatermark, patience());
    expect(sink.handed).toBeGreaterThan(handed);
  });

  it('is left at its next batch when it is asked to stop, and the lease stays', async () => {
    const horizon = await folded();
    const sink = new MemorySink(SMALL);
    const fourth = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    sink.fault = () => {
      if (sink.applied.length === 3) {
        sink.gate = gate.promise;
        fourth.resolve();
      }
      return 'none';
    };
    {
      await using life = await world.life('stopped', sink);
      await fourth.promise;
      const stopping = life.part.stop();
      gate.resolve();
      await stopping;
    }
    const filled = { ...sink.filled };
    expect(sink.checkpoint).toMatchObject({ offset: 0, cursor: expect.any(Uint8Array) as Uint8Array });
    expect(world.log.leases()).toEqual(['sink:stopped']);
    await changes(seededRandom(9), 20);
    expect(await world.fold()).toBe(horizon);
    await world.fill('stopped', sink);
    expect(sink.rows).toEqual(world.source.rows);
    expect(sink.filled.again).toBe(0);
    expect(sink.filled.rows).toBeGreaterThan(filled.rows);
    await expect.poll(() => world.log.leases()).toEqual([]);
    expect(await world.fold()).toBeGreaterThan(horizon);
  });

  it('sets rows aside that the sink refuses, or stops and names them', async () => {
    await folded();
    const all = new MemorySink(SMALL);
    await world.fill('all', all);
    const victims = [...all.rows.keys()].filter((_, index) => index % 20 === 7);
    const sink = new MemorySink(SMALL);
    for (const victim of victims) sink.refused.add(victim);
    {
      await using life = await world.life('refusing', sink, { onError: 'dead-letter' });
      await life.deliver.reached(world.log.state().highWatermark, patience());
      expect(life.letters.count).toBe(victims.length);
      const rows = new Map(world.source.rows);
      for (const victim of victims) rows.delete(victim);
      expect(sink.rows).toEqual(rows);
      sink.refused.clear();
      life.deliver.retryLetters();
      await expect.poll(() => life.letters.count).toBe(0);
      expect(sink.rows).toEqual(world.source.rows);
    }
    const strict = new MemorySink(SMALL);
    for (const victim of victims) strict.refused.add(victim);
    await using life = await world.life('strict', strict);
    const failure = await life.part.unlessFailed((signal) => life.deliver.reached(1, signal), patience()).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'SINK_DATA', where: { table: expect.stringMatching(/^public\.t/) as string, key: expect.any(String) as string } });
  });

  it('closes the letters of an earlier filling, whose keys may be gone', async () => {
    await folded();
    const sink = new MemorySink(SMALL, { inPlace: true });
    sink.refused.add('public.t1/1000');
    await world.source.commit([{ table: 1, key: 1000, value: 1 }]);
    {
      await using life = await world.life('again', sink, { onError: 'dead-letter' });
      await life.deliver.reached(world.log.state().highWatermark, patience());
      expect(life.letters.count).toBe(1);
    }
    await world.source.commit([{ table: 1, key: 1000, value: null }]);
    await changes(seededRandom(5), 30);
    await world.fold();
    sink.checkpoint = null;
    await using life = await world.life('again', sink, { onError: 'dead-letter' });
    await life.deliver.reached(world.log.state().highWatermark, patience());
    await expect.poll(() => life.letters.count).toBe(0);
    expect(sink.rows).toEqual(world.source.rows);
  });
});

/** `table/key` or `table:image` of every row of the batches, in order. */
function rowsOf(batches: readonly BaseBatch[]): string[] {
  const view = new RecordView();
  return batches.flatMap(({ steps }) => steps).flatMap((step: SinkStep) => {
    if (step.kind !== 'rows') return [];
    return step.tables.flatMap(({ schema, inserts }) => inserts.map(({ batch, at }) => {
      view.seek(batch.records, at);
      return `${schema.name} ${view.key().toString('hex')} ${view.after().subarray(0, 60).toString('hex')}`;
    }));
  });
}

async function read(base: BaseReader, maxKeys: number, from: BasePlace): Promise<BaseBatch[]> {
  const tables = new MirroredTables(world.log.catalog(), base.horizon, selectTables(['public.*']));
  const batches: BaseBatch[] = [];
  for await (const batch of baseBatches(base, tables, { maxKeys, maxBytes: 1 << 20, empties: true, from }, patience())) batches.push(batch);
  return batches;
}

describe('batches of a base', () => {
  it('come again from each place, none missing and none twice', async () => {
    await world.source.commit(Array.from({ length: 40 }, (_, key) => ({ table: 1, key, value: key })));
    // Rows without a key of which several stand in one piece of the base, some equal, some too large to be kept in a cursor.
    const rows = Array.from({ length: 36 }, (_, n) => (n % 3 === 0 ? `${n} ${'x'.repeat(100_000)}` : String(n % 7)));
    await world.source.bag(3, rows);
    await changes(seededRandom(7), 5);
    await world.fold();
    await using base = await world.log.openBase();
    if (base === null) throw new Error('there is no base');
    for (const maxKeys of [1, 7, 1000]) {
      const all = await read(base, maxKeys, BASE_START);
      const wanted = rowsOf(all);
      expect(wanted.filter((row) => row.startsWith('t3 ')).length).toBe(36);
      let done = 0;
      for (const [index, { place, records }] of all.entries()) {
        done += records;
        if (maxKeys === 1 && index % 4 !== 0) continue;
        const rest = await read(base, maxKeys === 1 ? 50 : maxKeys, place);
        expect(rowsOf(rest)).toEqual(wanted.slice(done));
        // What goes on in the middle of a table does not empty it.
        const first = rest.flatMap(({ steps }) => steps).find((step) => step.kind === 'rows');
        if (place.begun && first?.kind === 'rows' && place.beyond + (place.after?.length ?? 0) > 0 && rest[0]?.steps[0]?.kind === 'rows') {
          expect(first.tables[0]?.truncate).toBe(false);
        }
      }
    }
  }, 30_000);
});

describe('a place in a load', () => {
  const place: LoadPlace = {
    load: 'ab'.repeat(16), batches: 12, rows: 2 ** 40, horizon: 2 ** 45 + 3, epoch: 'cd'.repeat(16), selection: 0xfedcba98, joins: false, read: null,
    place: { table: 9, begun: true, after: Buffer.from('key'), beyond: 5 },
  };

  it('is read as it was written', () => {
    fc.assert(fc.property(fc.boolean(), fc.option(fc.uint8Array({ maxLength: 300 })), fc.nat(), fc.nat(), (begun, after, beyond, table) => {
      const one: LoadPlace = { ...place, joins: begun, place: { table, begun, after: after === null ? null : Buffer.from(after), beyond } };
      const reads: LoadPlace = { ...one, joins: true, read: beyond, place: { ...one.place, beyond: 0 } };
      expect(decodeLoadPlace(encodeLoadPlace(reads))).toEqual(reads);
      expect(decodeLoadPlace(encodeLoadPlace(one))).toEqual(one);
    }));
    expect(decodeLoadPlace(encodeLoadPlace(place).subarray(0, 60))).toBeNull();
    const newer = Buffer.from(encodeLoadPlace(place));
    newer[24] = 2;
    expect(decodeLoadPlace(newer)).toBeNull();
  });

  it('is compared with others of the same load', () => {
    const [a, b] = [encodeLoadPlace(place), encodeLoadPlace({ ...place, batches: 13 })];
    expect(lesserCursor(a, b)).toBe(a);
    expect(lesserCursor(b, a)).toBe(a);
    expect(lesserCursor(a, null)).toBeNull();
    expect(lesserCursor(a, encodeLoadPlace({ ...place, load: 'ef'.repeat(16) }))).toBeNull();
  });

  it('counts for its own horizon, epoch and tables', async () => {
    const horizon = await folded();
    const parts = { log: world.log, sink: new MemorySink(), selects: selectTables(['public.*']) };
    const sink = new MemorySink(SMALL);
    sink.fault = (batch) => (sink.applied.length >= 2 && batch.cursor !== null ? 'before' : 'none');
    {
      await using life = await world.life('placed', sink);
      await expect.poll(() => life.part.state).toBe('retrying');
    }
    const cursor = sink.checkpoint?.cursor ?? null;
    const found = placeIn(cursor, parts);
    expect(found).toMatchObject({ horizon, rows: sink.rows.size });
    if (found === null) throw new Error('no place');
    expect(placeIn(null, parts)).toBeNull();
    expect(placeIn(encodeLoadPlace({ ...found, horizon: horizon - 1 }), parts)).toBeNull();
    expect(placeIn(encodeLoadPlace({ ...found, epoch: 'ee'.repeat(16) }), parts)).toBeNull();
    expect(placeIn(cursor, { ...parts, selects: selectTables(['public.t1']) })).toBeNull();
  });
});
