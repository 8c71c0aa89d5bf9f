/** A replica that goes without a word, and one that only takes its time: what is the same for every kind of replica. */
import { expect } from 'vitest';
import { type ModelColumn, SinkModel } from '../../../contracts/kit/sink-model.ts';
import type { Sink } from '../../../contracts/sink.ts';
import type { SimulatedClock } from '../../fixtures/runtime.ts';
import type { TcpProxy } from '../../fixtures/tcp-proxy.ts';

export interface SilentServer {
  readonly sink: Sink;
  /** The sink's. */
  readonly clock: SimulatedClock;
  /** Between the sink and its server. */
  readonly proxy: TcpProxy;
  /** The namespace of the table, and the type of its column. */
  readonly namespace: string;
  readonly nativeType: string;
  /** Locks the table `things` for somebody else, until `release`. */
  lock(): Promise<void>;
  release(): Promise<void>;
  /** Statements that wait for a lock. */
  waiting(): Promise<number>;
  /** Lets the sink's watchdog look after the statement several times; what it found has been weighed. */
  watched(): Promise<void>;
}

/** One that takes its time is waited for, one that is gone is noticed. */
export async function noticesSilence(server: SilentServer): Promise<void> {
  const { sink, clock, proxy } = server;
  const { signal } = new AbortController();
  const model = new SinkModel();
  await sink.open(model.start(), signal);
  const id: ModelColumn = { name: 'id', type: { kind: 'int32' }, nativeType: server.nativeType, nullable: false };
  const table = model.createTable(server.namespace, 'things', [id], ['id']);
  await sink.apply(model.batch(), signal).durable;

  await server.lock();
  model.insert(table, ['1']);
  const slow = sink.apply(model.batch(), signal).durable;
  await expect.poll(() => server.waiting()).toBe(1);
  await server.watched();
  await server.release();
  await slow;

  proxy.hold();
  model.insert(table, ['2']);
  const outcome = Promise.allSettled([sink.apply(model.batch(), signal).durable]);
  let settled = false;
  void outcome.then(() => {
    settled = true;
  });
  await expect.poll(async () => {
    await clock.advance(10_000);
    return settled;
  }).toBe(true);
  expect(await outcome).toMatchObject([{ status: 'rejected', reason: { code: 'SINK_UNREACHABLE', retry: 'auto' } }]);
  proxy.resume();
}
