import { describe, expect, it } from 'vitest';
import { Supervisor, type Supervised } from '../../../hub/pipeline/supervisor.ts';
import { createTestRuntime, SimulatedClock } from '../../fixtures/runtime.ts';

const NEVER = new Promise<void>(() => undefined);

function part(name: string, done: string[], faults: { stop?: Promise<void>; dispose?: () => Promise<void> } = {}): Supervised {
  return {
    name,
    async stop() {
      done.push(`stop ${name}`);
      await faults.stop;
    },
    async [Symbol.asyncDispose]() {
      done.push(`dispose ${name}`);
      await faults.dispose?.();
    },
  };
}

function supervised(clock: SimulatedClock) {
  const runtime = createTestRuntime({ clock });
  return { runtime, supervisor: new Supervisor(runtime, { drainMs: 6000, disposeMs: 2500 }) };
}

describe('Supervisor', () => {
  it('stops all at once, then disposes in reverse order', async () => {
    const clock = new SimulatedClock();
    const { supervisor, runtime } = supervised(clock);
    const done: string[] = [];
    for (const name of ['source', 'sink', 'cache']) supervisor.add(part(name, done));
    await supervisor[Symbol.asyncDispose]();
    expect(done).toEqual(['stop source', 'stop sink', 'stop cache', 'dispose cache', 'dispose sink', 'dispose source']);
    expect(runtime.lines).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it('removes one, and leaves the others alone', async () => {
    const { supervisor } = supervised(new SimulatedClock());
    const done: string[] = [];
    const sink = part('sink', done);
    supervisor.add(part('source', done));
    supervisor.add(sink);
    await supervisor.remove(sink);
    expect(done).toEqual(['stop sink', 'dispose sink']);
    await supervisor[Symbol.asyncDispose]();
    expect(done.slice(2)).toEqual(['stop source', 'dispose source']);
  });

  it('waits for nobody longer than its limits, and says whom it left', async () => {
    const clock = new SimulatedClock();
    const { supervisor, runtime } = supervised(clock);
    const done: string[] = [];
    supervisor.add(part('source', done));
    supervisor.add(part('stuck', done, { stop: NEVER, dispose: () => NEVER }));
    let ended = false;
    const closing = supervisor[Symbol.asyncDispose]().then(() => {
      ended = true;
    });
    await clock.advance(5999);
    expect(done).toEqual(['stop source', 'stop stuck']);
    await clock.advance(1);
    expect(done.slice(2)).toEqual(['dispose stuck', 'dispose source']);
    await clock.advance(2499);
    expect(ended).toBe(false);
    await clock.advance(1);
    await closing;
    expect(runtime.lines.map((line) => line.event)).toEqual(['hub.drain-late', 'hub.close-late']);
  });

  it('disposes the others when one cannot be, and says so', async () => {
    const { supervisor } = supervised(new SimulatedClock());
    const done: string[] = [];
    supervisor.add(part('source', done));
    supervisor.add(part('broken', done, { dispose: () => Promise.reject(new Error('no')) }));
    await expect(supervisor[Symbol.asyncDispose]()).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(done.at(-1)).toBe('dispose source');
  });
});
