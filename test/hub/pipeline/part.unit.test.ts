import { describe, expect, it } from 'vitest';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { sourceFailure } from '../../../hub/pipeline/error-policy.ts';
import { Part, type PartState, type Work } from '../../../hub/pipeline/part.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';

/** Work that ends when the test lets it, after it was asked to. */
class ScriptedWork implements Work {
  readonly kind = 'sink';
  readonly retries = { metric: 'tidemark_sink_retries_total', labels: { sink: 'a' } } as const;
  lives = 0;
  running = 0;
  most = 0;
  gate: Promise<void> = Promise.resolve();
  failure: TidemarkError | null = null;
  judge = sourceFailure;

  async live(signal: AbortSignal, healthy: () => void): Promise<void> {
    this.lives++;
    this.most = Math.max(this.most, ++this.running);
    try {
      healthy();
      if (this.failure !== null) throw this.failure;
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      await this.gate;
    } finally {
      this.running--;
    }
  }
}

async function turnsTo(part: Part, state: PartState): Promise<void> {
  while (part.state !== state) await new Promise((resolve) => setImmediate(resolve));
}

function scripted() {
  const work = new ScriptedWork();
  const runtime = createTestRuntime();
  return { work, runtime, part: new Part('sink a', work, runtime) };
}

describe('a part', () => {
  it('goes on when it is resumed while it is being paused', async () => {
    const { work, part } = scripted();
    const gate = Promise.withResolvers<void>();
    work.gate = gate.promise;
    part.start();
    const paused = part.pause();
    part.start();
    gate.resolve();
    await paused;
    expect(part.state).not.toBe('paused');
    while (work.lives < 2) await new Promise((resolve) => setImmediate(resolve));
    expect(part.state).toBe('running');
    expect(work.most).toBe(1);
    await part.close();
  });

  it('goes on when it is resumed as its life comes to rest', async () => {
    const { work, part } = scripted();
    const rest = Promise.withResolvers<'paused'>();
    let rests = true;
    let lives = 0;
    const live: Work['live'] = (signal, healthy) => (++lives === 1 ? rest.promise : work.live(signal, healthy));
    const resting = new Part('sink a', { kind: work.kind, retries: work.retries, judge: work.judge, live, rests: () => rests }, createTestRuntime());
    resting.start();
    rest.resolve('paused');
    // What resumes it: said first, then asked to start, while the life that has ended is still there.
    rests = false;
    resting.start();
    await turnsTo(resting, 'running');
    expect(lives).toBe(2);
    await resting.close();
    await part.close();
  });

  it('is paused when it is paused again after it was resumed', async () => {
    const { work, part } = scripted();
    const gate = Promise.withResolvers<void>();
    work.gate = gate.promise;
    part.start();
    const first = part.pause();
    part.start();
    const second = part.pause();
    gate.resolve();
    await Promise.all([first, second]);
    expect(part.state).toBe('paused');
    expect(work.running).toBe(0);
    part.retry();
    expect(part.state).toBe('paused');
    part.start();
    expect(part.state).not.toBe('paused');
    await part.close();
  });

  it('does not begin again once it is closed, whoever asks', async () => {
    const { work, part } = scripted();
    const gate = Promise.withResolvers<void>();
    work.gate = gate.promise;
    part.start();
    const stopped = part.stop().then(() => part.start());
    const closed = part.close();
    part.start();
    gate.resolve();
    await Promise.all([stopped, closed]);
    part.start();
    part.retry();
    expect(work.lives).toBe(1);
    expect(part.state).toBe('stopped');
  });

  it('stops on what somebody must mend, says so in its log without the key of a row, and tries again on demand', async () => {
    const { work, part, runtime } = scripted();
    work.failure = new TidemarkError('SINK_DATA', 'refused', { where: { sink: 'a', table: 'public.t', key: 'id=1', offset: 7 } });
    part.start();
    await turnsTo(part, 'failed');
    expect(runtime.lines).toEqual([{ level: 'error', event: 'sink.failed', fields: { code: 'SINK_DATA', what: 'refused', table: 'public.t', offset: 7, attempt: 1 } }]);
    work.failure = null;
    part.retry();
    await turnsTo(part, 'running');
    await part.close();
  });
});
