import { describe, expect, it } from 'vitest';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { cutDuringAppend, failAfterAppend, failRead, holdAppend, rejectAppend, slowAppend } from '../../../../contracts/kit/log-engine-faults.ts';
import { expectCode, NEVER, readAll } from '../../../../contracts/kit/log-engine-kit-common.ts';
import { positionAt, transactionBatch } from '../../../../contracts/kit/log-workload.ts';
import type { LogEngine } from '../../../../contracts/log-engine.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { FaultyFiles } from '../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../../fixtures/runtime.ts';
import { noLock } from './no-lock.ts';

const engine = (): Promise<LogEngine> =>
  EmbeddedLogEngine.create('/data', createTestRuntime({ files: new FaultyFiles(seededRandom(1)) }), { lock: noLock });

const isAt = (position: number) => (batch: ChangeBatch) => batch.progress !== null && Buffer.from(batch.progress).equals(positionAt(position));

describe('fault wrappers of log engines', () => {
  it('reject: the batch is not in the log, the writer is over, a new one goes on', async () => {
    let isArmed = true;
    await using faulty = rejectAppend(await engine(), (batch) => isArmed && isAt(2)(batch));
    const log = await faulty.open('shop', { create: true });
    const writer = await log.openWriter(() => undefined);
    await writer.append(transactionBatch({ rows: 1, position: 1 }));
    await expectCode(writer.append(transactionBatch({ rows: 1, position: 2 })), 'LOG_WRITE_FAILED');
    await expectCode(writer.append(transactionBatch({ rows: 1, position: 3 })), 'LOG_WRITE_FAILED');
    await expectCode(writer.flush(), 'LOG_WRITE_FAILED');
    await expectCode(writer.rollback(), 'LOG_WRITE_FAILED');
    isArmed = false;
    const again = await log.openWriter(() => undefined);
    expect(again.start).toMatchObject({ highWatermark: 1, position: positionAt(1) });
    expect(await again.append(transactionBatch({ rows: 1, position: 2 }))).toEqual({ baseOffset: 2, lastOffset: 2 });
  });

  it('fail after: the batch is durable all the same', async () => {
    await using faulty = failAfterAppend(await engine(), isAt(1));
    const log = await faulty.open('shop', { create: true });
    expect(await faulty.open('shop', { create: false })).toBe(log);
    const told: number[] = [];
    const writer = await log.openWriter(({ highWatermark }) => told.push(highWatermark));
    await expectCode(writer.append(transactionBatch({ rows: 3, position: 1 })), 'LOG_WRITE_FAILED');
    expect(told).toEqual([3]);
    expect((await log.openWriter(() => undefined)).start).toMatchObject({ highWatermark: 3, position: positionAt(1) });
  });

  it('hold: appends wait, and go on in order', async () => {
    await using held = holdAppend(await engine());
    const log = await held.open('shop', { create: true });
    const writer = await log.openWriter(() => undefined);
    held.hold();
    const appends = [1, 2].map((position) => writer.append(transactionBatch({ rows: 1, position })));
    await writer.flush();
    expect(held.waiting).toBe(2);
    expect(writer.lastOffset).toBe(0);
    held.go();
    expect((await Promise.all(appends)).map((place) => place.baseOffset)).toEqual([1, 2]);
    expect(held.waiting).toBe(0);
  });

  it('slow: the log gets a batch when it may', async () => {
    const delays: number[] = [];
    await using slow = slowAppend(await engine(), (batch) => {
      delays.push(batch.count);
      return Promise.resolve();
    });
    const log = await slow.open('shop', { create: true });
    const writer = await log.openWriter(() => undefined);
    await writer.append(transactionBatch({ rows: 4, position: 1 }));
    expect(delays).toEqual([4]);
    expect(await slow.sources()).toEqual(['shop']);
  });

  it('cut: in the middle of the work', async () => {
    const files = new FaultyFiles(seededRandom(1));
    const real = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), { lock: noLock });
    const cut = cutDuringAppend(real, isAt(2), () => files.kill());
    const writer = await (await cut.open('shop', { create: true })).openWriter(() => undefined);
    await writer.append(transactionBatch({ rows: 1, position: 1 }));
    await writer.flush();
    await writer.append(transactionBatch({ rows: 1, position: 2 }));
    await expect(writer.flush()).rejects.toMatchObject({ code: 'LOG_WRITE_FAILED' });
    await using next = await EmbeddedLogEngine.create('/data', createTestRuntime({ files: files.crash('machine') }), { lock: noLock });
    expect((await readAll(await next.open('shop', { create: false }), 0)).records).toHaveLength(1);
  });

  it('failing read: a new reader goes on', async () => {
    let strikes = 1;
    await using faulty = failRead(await engine(), () => strikes-- > 0);
    const log = await faulty.open('shop', { create: true });
    const writer = await log.openWriter(() => undefined);
    await writer.append(transactionBatch({ rows: 2, position: 1 }));
    await writer.flush();
    const options = { after: 0, follow: false, signal: NEVER };
    await expectCode(log.read(options)[Symbol.asyncIterator]().next(), 'LOG_READ_FAILED');
    for await (const batch of log.read(options)) expect(batch.count).toBe(2);
    await log.reached(2, NEVER);
    expect([log.state().highWatermark, log.plan(null).kind, log.catalog().tables().length]).toEqual([2, 'resume', 0]);
    expect(log.epochAt(1)).toBe(writer.start.epoch);
  });
});
