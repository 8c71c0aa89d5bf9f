import { expect, test } from 'vitest';
import type { TidemarkError } from '../../../contracts/errors/error.ts';
import { type Found, isDead, Watchdog } from '../../../sinks/relational/watchdog.ts';
import { SimulatedClock } from '../../fixtures/runtime.ts';

test.each([
  ['working', false, false], ['working', true, false], ['waiting-for-us', true, false], ['waiting-for-us', false, true], ['gone', false, true], ['unreachable', false, true],
] as const)('a session that is %s (sending: %s) is dead: %s', (probe, sending, dead) => {
  expect(isDead(probe, sending)).toBe(dead);
});

class Silent {
  unsent = 0;
  reason: TidemarkError | null = null;
  readonly answer = Promise.withResolvers<void>();

  cut(reason: TidemarkError): void {
    this.reason = reason;
    this.answer.reject(reason);
  }
}

async function after(ms: number, ask: (session: Silent, signal: AbortSignal) => Promise<Found>, sends = false): Promise<Silent> {
  const clock = new SimulatedClock();
  using watchdog = new Watchdog<Silent>(clock, ask);
  const session = new Silent();
  const work = watchdog.during(session, () => session.answer.promise).catch(() => undefined);
  for (let passed = 0; passed < ms; passed += 1_000) {
    if (sends) session.unsent++;
    await clock.advance(1_000);
  }
  if (session.reason === null) session.answer.resolve();
  await work;
  return session;
}

test('a statement is waited for as long as the server works at it, or takes bytes of it', async () => {
  expect((await after(600_000, () => Promise.resolve('working'))).reason).toBeNull();
  expect((await after(600_000, () => Promise.resolve('waiting-for-us'), true)).reason).toBeNull();
});

test('nobody is asked about a statement before it takes long', async () => {
  let asked = 0;
  await after(19_000, () => {
    asked++;
    return Promise.resolve('gone');
  });
  expect(asked).toBe(0);
});

test.each(['gone', 'waiting-for-us'] as const)('one that the server is %s of is given up', async (found) => {
  expect((await after(31_000, () => Promise.resolve(found))).reason).toMatchObject({ code: 'SINK_UNREACHABLE', retry: 'auto' });
});

test('so is one of a server that cannot be asked: the question has an end, too', async () => {
  const never = (_session: Silent, signal: AbortSignal): Promise<Found> => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('given up')), { once: true }));
  expect((await after(50_000, never)).reason?.message).toContain('unreachable');
});
