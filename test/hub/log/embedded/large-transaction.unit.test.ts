import { describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../../../contracts/change-batch.ts';
import { expectCode } from '../../../../contracts/kit/log-engine-kit-common.ts';
import { positionAt } from '../../../../contracts/kit/log-workload.ts';
import { Op } from '../../../../contracts/op.ts';
import { decodeIndex } from '../../../../hub/log/embedded/segments/segment-index.ts';
import type { FaultyFiles } from '../../../fixtures/faulty-files.ts';
import { NONE, segment, index, manifestOf, open, born, appendDurable, offsets, upTo } from './crash-life.ts';

describe('crash cases of segment.ts, in a transaction of many segments', () => {
  /** A transaction of some ten segments after two small ones. */
  async function inLargeTransaction(isCommitted: boolean, segmentBytes = 600): Promise<FaultyFiles> {
    const { files, writer } = await born({ segmentBytes });
    await appendDurable(writer, 1, 2);
    const builder = new BatchBuilder(1024);
    builder.begin('source', 3, 3);
    for (let batch = 0; batch < 10; batch++) {
      for (let row = 0; row < 20; row++) builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('large'));
      if (batch === 9 && isCommitted) builder.commit(positionAt(3));
      await writer.append(builder.take());
      await writer.flush();
    }
    return files.crash('process');
  }

  it('case 16: a large transaction is cut without reading its segments', async () => {
    const files = await inLargeTransaction(false);
    const closed = manifestOf(files).segments.filter(({ state }) => state === 'closed');
    expect(closed.length).toBeGreaterThan(7);
    for (const { number } of closed.slice(1)) files.damage(segment(number), 200);
    const { log, files: after } = await open(files);
    expect(await offsets(log)).toEqual(upTo(5));
    for (const { number } of closed.slice(1)) expect(after.paths()).not.toContain(index(number));
  });

  it('case 16: a large transaction that was committed is there, and damage in it is named by who reads it', async () => {
    const files = await inLargeTransaction(true);
    const { number } = manifestOf(files).segments.findLast(({ state }) => state === 'closed') ?? { number: 0 };
    const whole = await open(files.fork());
    expect(await offsets(whole.log)).toEqual(upTo(205));
    expect(whole.log.state().position).toEqual(positionAt(3));
    files.damage(segment(number), 200);
    const { log } = await open(files);
    expect((await expectCode(offsets(log), 'LOG_CORRUPT')).where).toMatchObject({ file: segment(number) });
  });

  it('case 16: an index of before a cut is not believed', async () => {
    const files = await inLargeTransaction(false, 2000);
    const holding = manifestOf(files).segments.find(({ state }) => state === 'closed');
    if (holding === undefined) throw new Error('no segment is closed');
    const stale = files.bytes(index(holding.number));
    const life = await open(files.fork());
    const bytes = decodeIndex(life.files.bytes(index(holding.number)), holding.number)?.bytes ?? 0;
    expect(decodeIndex(stale, holding.number)?.bytes).toBeGreaterThan(bytes);
    let found = 0;
    for (let at = 1; at <= 30; at++) {
      const dying = files.fork();
      const died = new Promise<void>((resolve) => dying.crashAt(dying.operations + at, resolve));
      await Promise.race([died, open(dying).catch(() => died)]);
      const after = dying.crash('machine');
      const { state, number } = manifestOf(after).segments.at(-1) ?? { state: 'none', number: 0 };
      // Killed after the manifest of the cut, before the index was written again.
      if (state === 'closed' && number === holding.number && after.bytes(index(number)).equals(stale)) found++;
      const { log } = await open(after);
      expect(await offsets(log)).toEqual(upTo(5));
      expect(decodeIndex(after.bytes(index(holding.number)), holding.number)).toMatchObject({ bytes, commit: null });
    }
    expect(found).toBeGreaterThan(0);
  });
});
