import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../fixtures/runtime.ts';
import { delivering } from './delivering.ts';
import { MemorySink } from './memory-sink.ts';

const healthy = (): void => undefined;
/** The test's own ends it. */
const limit = new AbortController().signal;

describe('Deliver, led to an offset and no further', () => {
  it('goes on from where it was left without opening the sink, and opens it after a failure', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink);
    let end = 0;
    for (let n = 0; n < 4; n++) {
      end = await test.source.commit([{ table: 1, key: n, value: n }, { table: 2, key: 1, value: n }]);
      expect(await test.deliver.deliverTo(end, limit, healthy)).toMatchObject({ logId: sink.checkpoint?.logId, epoch: sink.checkpoint?.epoch, offset: end });
      expect(sink.checkpoint?.offset).toBe(end);
      // It stays where it is.
      expect((await test.deliver.deliverTo(end - 1, limit, healthy)).offset).toBe(end);
      expect(sink.opened).toBe(1);
    }
    end = await test.source.commit([{ table: 1, key: 9, value: 9 }]);
    sink.fault = () => 'after';
    await expect(test.deliver.deliverTo(end, limit, healthy)).rejects.toMatchObject({ code: 'SINK_UNREACHABLE' });
    sink.fault = () => 'none';
    expect((await test.deliver.deliverTo(end, limit, healthy)).offset).toBe(end);
    expect(sink.opened).toBe(2);
    expect(sink.rows).toEqual(test.source.rows);
  });

  it('is exactly there each time, whatever fails and whatever the sink refuses', async () => {
    for (let seed = 1; seed <= 6; seed++) {
      const random = seededRandom(seed);
      const sink = new MemorySink({ wholeTransactions: random.unit() < 0.6, maxKeys: 1 + Math.floor(random.unit() * 12) });
      let faults = 4;
      sink.fault = () => {
        if (faults === 0 || random.unit() < 0.8) return 'none';
        faults--;
        return random.unit() < 0.5 ? 'before' : 'after';
      };
      sink.refused.add('public.t1/3');
      await using test = await delivering(sink, { onError: 'dead-letter', bytes: random.unit() < 0.5 ? 300 : 1 << 20 });
      for (let n = 0; n < 8; n++) {
        let end = 0;
        for (let more = Math.floor(random.unit() * 3); more >= 0; more--) {
          const keys = new Set(Array.from({ length: 1 + Math.floor(random.unit() * 8) }, () => Math.floor(random.unit() * 6)));
          end = await test.source.commit([...keys].map((key) => ({ table: 1 + Math.floor(random.unit() * 2), key, value: n })));
        }
        for (let left = 20; left > 0; left--) {
          const at = await test.deliver.deliverTo(end, limit, healthy).catch(() => null);
          if (at === null) continue;
          expect(at.offset, `seed ${seed}`).toBe(end);
          break;
        }
        expect(sink.checkpoint?.offset, `seed ${seed}`).toBe(end);
        const expected = new Map([...test.source.rows].filter(([key]) => key !== 'public.t1/3'));
        expect(sink.rows, `seed ${seed}`).toEqual(expected);
        expect(test.letters.count, `seed ${seed}`).toBe(test.source.rows.has('public.t1/3') ? 1 : 0);
      }
    }
  }, 60_000);
});
