import { describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../../../contracts/change-batch.ts';
import { buildKey } from '../../../../contracts/key.ts';
import { Op } from '../../../../contracts/op.ts';
import { buildImage } from '../../../../contracts/row-image.ts';
import type { SinkBatch } from '../../../../contracts/sink.ts';
import type { DeliverVisit } from '../../../../hub/pipeline/sink/visits.ts';
import { positionOf } from '../source/numbered-positions.ts';
import { scriptedSchema } from '../source/scripted-source.ts';
import { delivering, patience } from './delivering.ts';
import { MemorySink } from './memory-sink.ts';

const NONE = new Uint8Array(0);

/** A row of table 1, as a visitor writes it. */
function rowAt({ at }: DeliverVisit, epoch: string, key: number, value: string): SinkBatch {
  const builder = new BatchBuilder(256);
  builder.begin('hub', 0, 0);
  builder.record(Op.read, 0, 1, 1, buildKey([String(key)]), NONE, buildImage([String(key), value]));
  const upserts = [{ batch: builder.take(), at: 0 }];
  const table = { schema: scriptedSchema(1), truncate: false, copying: true, deletes: [], upserts, inserts: [] };
  return { after: at.after, to: at.after, endsOpen: false, epoch, position: at.position, commitTime: at.commitTime, cursor: null, steps: [{ kind: 'rows', tables: [table] }], records: 1, bytes: 1 };
}

describe('a visit of a sink', () => {
  it('finds it standing still, writes what leaves its checkpoint where it is, and delivery goes on behind it', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink);
    test.part.start();
    const first = await test.source.commit([{ table: 1, key: 1, value: 1 }]);
    await test.deliver.reached(first, patience());
    let during = 0;
    await test.deliver.visit(async (visit) => {
      expect(visit.at.after).toBe(first);
      const handed = sink.handed;
      await test.source.commit([{ table: 1, key: 2, value: 2 }]);
      await test.runtime.clock.sleep(50);
      during = sink.handed - handed;
      await visit.apply(rowAt(visit, test.log.epochAt(first), 7, 'visited'));
      expect(sink.checkpoint?.offset).toBe(first);
    }, patience());
    expect(during).toBe(0);
    const last = await test.source.commit([{ table: 1, key: 1, value: 3 }]);
    await test.deliver.reached(last, patience());
    expect(sink.rows).toEqual(new Map([...test.source.rows, ['public.t1/7', '7,visited']]));
    expect(sink.checkpoint?.position).toEqual(positionOf(3));
  });

  it('waits while nothing is delivered, and gives up when it is told to', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink);
    const gone = new AbortController();
    const late = test.deliver.visit(() => Promise.resolve(), gone.signal);
    gone.abort();
    await expect(late).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(test.deliver.visit(() => Promise.resolve(), gone.signal)).rejects.toMatchObject({ code: 'ABORTED' });
    let visited = 0;
    const waiting = test.deliver.visit(() => Promise.resolve(void visited++), patience());
    expect(visited).toBe(0);
    test.part.start();
    await waiting;
    expect(visited).toBe(1);
  });

  it('that fails is its own failure: delivery goes on', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink);
    test.part.start();
    await test.deliver.reached(await test.source.commit([{ table: 1, key: 1, value: 1 }]), patience());
    await expect(test.deliver.visit(() => Promise.reject(new Error('of the visitor')), patience())).rejects.toThrow('of the visitor');
    const last = await test.source.commit([{ table: 1, key: 2, value: 2 }]);
    await test.deliver.reached(last, patience());
    expect(sink.rows).toEqual(test.source.rows);
    expect(test.part.error).toBeNull();
  });

  it('is given up when the sink is closed', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink);
    const waiting = test.deliver.visit(() => Promise.resolve(), patience());
    test.deliver.close();
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED' });
  });
});
