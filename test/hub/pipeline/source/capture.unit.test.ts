import { describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../../../contracts/change-batch.ts';
import { encodeControl } from '../../../../contracts/control.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { Capture, type StreamCompanion } from '../../../../hub/pipeline/source/capture.ts';
import { Part } from '../../../../hub/pipeline/part.ts';
import type { RowCompleter } from '../../../../hub/pipeline/source/stream-feed.ts';
import type { WriterTurn, WriterTurns } from '../../../../hub/pipeline/source/writer-turn.ts';
import type { SourceLog } from '../../../../contracts/log-engine.ts';
import { createTestRuntime, seededRandom } from '../../../fixtures/runtime.ts';
import { temporaryDirectory } from '../../../fixtures/temp.ts';
import { positionOf } from './numbered-positions.ts';
import { ScriptedSource } from './scripted-source.ts';

const NONE = new Uint8Array(0);

const rowsAsTheyAre: RowCompleter = {
  mostIncomplete: 1,
  complete: (batch) => Promise.resolve(batch),
  appended: () => undefined,
  rolledBack: () => Promise.resolve(),
};

/** Announces the tables, and says at once that they are consistent. */
const announcer: StreamCompanion = {
  async accompany({ connector, turns, announce }, signal) {
    const tables = await connector.tables(signal);
    announce(tables);
    await turns.waitCatalog((catalog) => tables.every((table) => catalog.table(table.tableId) !== undefined), signal);
    for (const { tableId } of tables) await turns.turn((turn) => copied(turn, tableId));
    await aborted(signal);
  },
};

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function copied(turn: WriterTurn, tableId: number): Promise<void> {
  if (turn.catalog.table(tableId)?.state.state === 'consistent') return;
  const builder = new BatchBuilder(256);
  builder.begin('hub', 0, turn.commitTime);
  builder.record(Op.control, 0, tableId, 0, NONE, NONE, encodeControl({ type: 'copied', rows: 0 }));
  builder.commit(turn.position ?? positionOf(0));
  await turn.append(builder.take());
}

async function capturing(source: ScriptedSource, companion = announcer) {
  const directory = await temporaryDirectory('capture');
  const runtime = createTestRuntime();
  const engine = await EmbeddedLogEngine.create(directory.path, runtime);
  const log = await engine.open('shop', { create: true });
  const config = { name: 'shop', type: 'scripted', tables: () => true, tablePatterns: ['*'], columns: new Map(), hashKey: null, options: {} };
  const another = () => {
    const capture = new Capture({ config, connector: source, log, completer: rowsAsTheyAre, companion, runtime, onAppended: () => undefined });
    return { capture, part: new Part('source shop', capture, { ...runtime, clock: { ...runtime.clock, sleep: () => Promise.resolve() } }) };
  };
  const { capture, part } = another();
  return {
    log, capture, part, runtime, another,
    async [Symbol.asyncDispose]() {
      await part.stop();
      await capture.close();
      await engine[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** Both tables are in the log, and said to be consistent. */
async function consistent(turns: WriterTurns): Promise<void> {
  await turns.waitCatalog((catalog) => [1, 2].every((id) => catalog.table(id)?.state.state === 'consistent'), AbortSignal.timeout(5000));
}

/** Keys and values of all source records of the log, in order, as `xid:table/key=value`. */
async function sourceRecords(log: SourceLog): Promise<string[]> {
  const found: string[] = [];
  const view = new RecordView();
  let expected = 1;
  for await (const batch of log.read({ after: 0, follow: false, signal: new AbortController().signal })) {
    expect(batch.baseOffset).toBe(expected);
    expected += batch.count;
    for (const { kind, first, count, xid } of batch.transactions) {
      view.reset(batch.records);
      while (view.next()) {
        if (kind !== 'source' || view.index < first || view.index >= first + count) continue;
        found.push(`${xid}:${view.tableId}/${view.key().subarray(4).toString()}=${view.after().subarray(-2).toString('latin1').trim()}`);
      }
    }
  }
  return found;
}

describe('Capture', () => {
  it('brings transactions into the log, and acknowledges them when they are durable', async () => {
    const source = new ScriptedSource();
    await using test = await capturing(source);
    test.part.start();
    source.commit([{ table: 1, key: 1, value: 10 }, { table: 2, key: 1, value: 11 }]);
    source.commit([]);
    source.commit([{ table: 1, key: 1, value: null }]);
    const offset = await test.capture.passed(positionOf(3), AbortSignal.timeout(5000));
    expect(await sourceRecords(test.log)).toHaveLength(3);
    expect(test.log.state().highWatermark).toBeGreaterThanOrEqual(offset);
    expect(source.acknowledged).toBe(3);
    expect(test.part.state).toBe('running');
  });

  it('cuts a half-written transaction when the stream breaks, and takes everything once', async () => {
    for (let seed = 1; seed <= 25; seed++) {
      const random = seededRandom(seed);
      const source = new ScriptedSource();
      const expected: string[] = [];
      let breaks = 8;
      source.beforeBatch = () => {
        if (breaks === 0 || random.unit() > 0.3) return;
        breaks--;
        throw new TidemarkError('POSTGRES_UNREACHABLE', `scripted (seed ${seed})`);
      };
      await using test = await capturing(source);
      test.part.start();
      for (let xid = 1; xid <= 12; xid++) {
        const size = Math.floor(random.unit() * 9);
        source.commit(Array.from({ length: size }, (_, key) => ({ table: 1 + (key % 2), key, value: 10 + xid })));
        for (let key = 0; key < size; key++) expected.push(`${xid}:${1 + (key % 2)}/${key}=${10 + xid}`);
        if (random.unit() < 0.3) await test.capture.passed(positionOf(Math.max(1, xid - 2)), AbortSignal.timeout(5000));
      }
      await test.capture.passed(positionOf(12), AbortSignal.timeout(5000));
      expect(await sourceRecords(test.log), `seed ${seed}`).toEqual(expected);
      expect(source.acknowledged).toBe(12);
      await consistent(await test.capture.streaming(AbortSignal.timeout(5000)));
    }
  }, 30_000);

  it('gives turns between transactions, also in a backlog whose batches all end inside one', async () => {
    const source = new ScriptedSource();
    await using test = await capturing(source);
    for (let xid = 1; xid <= 200; xid++) source.commit([1, 2].map((key) => ({ table: 1, key, value: 10 })));
    test.part.start();
    const turns = await test.capture.streaming(AbortSignal.timeout(5000));
    await turns.waitCatalog((catalog) => catalog.table(1) !== undefined, AbortSignal.timeout(5000));
    const at: number[] = [];
    for (let n = 0; n < 20; n++) {
      await turns.turn(async (turn) => {
        await turn.flush();
        expect(test.log.state().highWatermark).toBe(turn.lastOffset);
        at.push(turn.lastOffset);
      });
    }
    await test.capture.passed(positionOf(200), AbortSignal.timeout(5000));
    expect(await sourceRecords(test.log)).toHaveLength(400);
    expect(at.toSorted((a, b) => a - b)).toEqual(at);
  });

  it('takes back what a failed turn left unfinished', async () => {
    const source = new ScriptedSource();
    await using test = await capturing(source);
    test.part.start();
    source.commit([{ table: 1, key: 1, value: 10 }]);
    await test.capture.passed(positionOf(1), AbortSignal.timeout(5000));
    const turns = await test.capture.streaming(AbortSignal.timeout(5000));
    await consistent(turns);
    const before = await turns.turn((turn) => Promise.resolve(turn.lastOffset));
    const failed = turns.turn(async (turn) => {
      const builder = new BatchBuilder(256);
      builder.begin('hub', 0, 0);
      builder.record(Op.control, 0, 1, 0, NONE, NONE, encodeControl({ type: 'removed' }));
      await turn.append(builder.take());
      expect(turn.catalog.table(1)?.state.state).toBe('removed');
      throw new Error('given up');
    });
    await expect(failed).rejects.toThrow('given up');
    await turns.turn((turn) => {
      expect(turn.catalog.table(1)?.state.state).toBe('consistent');
      expect(turn.lastOffset).toBe(before);
      return Promise.resolve();
    });
    source.commit([{ table: 1, key: 2, value: 11 }]);
    await test.capture.passed(positionOf(2), AbortSignal.timeout(5000));
    expect(await sourceRecords(test.log)).toEqual(['1:1/1=10', '2:1/2=11']);
  });

  it('stops on what an operator must mend, and says so', async () => {
    const source = new ScriptedSource();
    await using test = await capturing(source);
    source.beforeBatch = () => {
      throw new TidemarkError('POSTGRES_SLOT_LOST', 'scripted');
    };
    test.part.start();
    const waiting = test.part.unlessFailed((signal) => test.capture.passed(positionOf(99), signal), AbortSignal.timeout(5000));
    await expect(waiting).rejects.toMatchObject({ code: 'POSTGRES_SLOT_LOST', where: { source: 'shop' } });
    expect(test.part.state).toBe('failed');
    source.beforeBatch = () => undefined;
    test.part.retry();
    source.commit([{ table: 1, key: 1, value: 10 }]);
    await test.capture.passed(positionOf(1), AbortSignal.timeout(5000));
  });

  it('begins again after a gap: recorded before anything new, tables to be copied again', async () => {
    const source = new ScriptedSource();
    await using test = await capturing(source);
    test.part.start();
    source.commit([{ table: 1, key: 1, value: 10 }]);
    await test.capture.passed(positionOf(1), AbortSignal.timeout(5000));
    await consistent(await test.capture.streaming(AbortSignal.timeout(5000)));
    await test.part.stop();
    source.commit([{ table: 1, key: 2, value: 20 }]);
    test.capture.beginAfterGap('the slot was lost');
    // What was passed before the gap says nothing of the source as it is.
    await expect(test.capture.passed(positionOf(1), AbortSignal.timeout(50))).rejects.toBeInstanceOf(Error);
    let faults = 2;
    source.beforeBatch = () => {
      if (faults-- > 0) throw new TidemarkError('POSTGRES_UNREACHABLE', 'scripted');
    };
    test.part.start();
    const turns = await test.capture.streaming(AbortSignal.timeout(5000));
    await turns.waitPassed(() => true, AbortSignal.timeout(5000)).catch(() => undefined);
    source.commit([{ table: 1, key: 3, value: 30 }]);
    await test.capture.passed(positionOf(3), AbortSignal.timeout(5000));
    await consistent(await test.capture.streaming(AbortSignal.timeout(5000)));
    expect(await sourceRecords(test.log)).toEqual(['1:1/1=10', '3:1/3=30']);
    expect(source.released).toBe(1);
    expect(source.acknowledged).toBe(3);
    const table = test.log.catalog().table(1);
    expect(table?.consistent).toHaveLength(2);
    expect(table?.consistent[0]?.to).not.toBeNull();
  });

  it('goes on after a gap although the process ends before the first position after it', async () => {
    const source = new ScriptedSource();
    await using test = await capturing(source);
    test.part.start();
    source.commit([{ table: 1, key: 1, value: 10 }]);
    await test.capture.passed(positionOf(1), AbortSignal.timeout(5000));
    await consistent(await test.capture.streaming(AbortSignal.timeout(5000)));
    await test.part.stop();
    source.commit([{ table: 1, key: 2, value: 20 }]);
    test.capture.beginAfterGap('the slot was lost');
    source.beforeBatch = () => {
      throw new TidemarkError('POSTGRES_SLOT_LIMIT', 'scripted');
    };
    test.part.start();
    await expect(test.part.unlessFailed((signal) => aborted(signal), AbortSignal.timeout(5000))).rejects.toMatchObject({ code: 'POSTGRES_SLOT_LIMIT' });
    await test.capture.close();
    source.beforeBatch = () => undefined;
    const again = test.another();
    again.part.start();
    await again.capture.streaming(AbortSignal.timeout(5000));
    source.commit([{ table: 1, key: 3, value: 30 }]);
    await again.capture.passed(positionOf(3), AbortSignal.timeout(5000));
    await consistent(await again.capture.streaming(AbortSignal.timeout(5000)));
    expect(await sourceRecords(test.log)).toEqual(['1:1/1=10', '3:1/3=30']);
    await again.part.stop();
    await again.capture.close();
    const last = test.another();
    last.part.start();
    await consistent(await last.capture.streaming(AbortSignal.timeout(5000)));
    await last.part.stop();
    await last.capture.close();
    expect(source.released).toBe(2);
    expect(test.log.catalog().table(1)?.consistent).toHaveLength(2);
  });

  it('ends with a failure of what runs beside the stream, and begins again', async () => {
    const source = new ScriptedSource();
    let failures = 3;
    await using test = await capturing(source, {
      accompany: (context, signal) => {
        if (failures-- > 0) return Promise.reject(new TidemarkError('POSTGRES_UNREACHABLE', 'scripted'));
        return announcer.accompany(context, signal);
      },
    });
    test.part.start();
    source.commit([{ table: 1, key: 1, value: 10 }]);
    const turns = await test.capture.streaming(AbortSignal.timeout(5000));
    await expect(turns.waitCatalog(() => false, AbortSignal.timeout(5000))).rejects.toMatchObject({ code: 'POSTGRES_UNREACHABLE' });
    await test.capture.passed(positionOf(1), AbortSignal.timeout(5000));
    for (let turned = false; !turned; ) {
      const next = await test.capture.streaming(AbortSignal.timeout(5000));
      turned = await consistent(next).then(() => true, () => false);
    }
    expect(source.streams).toBe(4);
  });

  it('rejects those who wait when the stream ends', async () => {
    const source = new ScriptedSource();
    await using test = await capturing(source);
    test.part.start();
    const turns = await test.capture.streaming(AbortSignal.timeout(5000));
    const waiting = turns.waitPassed(() => false, AbortSignal.timeout(5000));
    await Promise.all([expect(waiting).rejects.toMatchObject({ code: 'ABORTED' }), test.part.stop()]);
    await expect(turns.turn(() => Promise.resolve())).rejects.toMatchObject({ code: 'ABORTED' });
    expect(test.part.state).toBe('stopped');
  });
});
