import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { openHubStand, type HubStand } from '../fixtures/hub-stand.ts';
import { createShop } from '../fixtures/shop/schema.ts';
import { startShopWorkload, type ShopWorkload } from '../fixtures/shop/workload.ts';
import { currentDigest, type ReferenceState, referenceState } from './reference-states.ts';
import { startShopReaders } from './shop-readers.ts';

const KILLS = 50;
/** Of one step, on a machine that does much else. */
const LIMIT_MS = 600_000;
/** A rebuild goes to one of the newest states; what is older is folded, so that rebuilds begin at a base that moves. */
const STATES = 3;

describe('rebuilds to any moment, under load, while the log is folded and the hub is killed fifty times', () => {
  let stand: HubStand;
  beforeAll(async () => {
    stand = await openHubStand({ purpose: 'rebuild-long' });
    await createShop(stand.source.url('source'));
    await stand.start();
    await stand.caughtUp();
  });
  afterAll(() => stand?.[Symbol.asyncDispose]());

  it('each of them equals the source at that very position, and none leaves anything behind', async () => {
    const url = stand.source.url('source');
    await using workload = startShopWorkload({ url, transactionsPerSecond: 120 });
    await using readers = startShopReaders(stand.replica.url('replica'), 1);
    const states: ReferenceState[] = [];
    let kills = 0;
    let compared = 0;
    let refused = 0;
    while (kills < KILLS) {
      await workIn(workload, randomInt(200, 1500));
      states.push(await referenceState(url));
      const state = states.slice(-STATES)[randomInt(Math.min(STATES, states.length))] ?? states[0];
      if (state === undefined) continue;
      await logHas(state.lsn);
      await fold(states.at(-STATES)?.lsn ?? null);
      const id = await begin(state.lsn);
      if (id === null) {
        refused++;
        continue;
      }
      // The lease of the rebuild holds the horizon meanwhile.
      const folding = fold(states.at(-1)?.lsn ?? null);
      for (let more = randomInt(1, 4); more > 0; more--) {
        await workIn(workload, randomInt(5, 700));
        await stand.hub.kill();
        await stand.start();
        kills++;
      }
      await folding;
      await ended(id);
      expect(await currentDigest(stand.replica.url('replica')), `as of ${state.lsn}`).toEqual(state.digest);
      compared++;
      await stand.hub.api.sinkAction('replica', 'resume', AbortSignal.timeout(LIMIT_MS));
    }
    await workload.stop();
    await stand.caughtUp();
    await readers.stop();
    await stand.mustBeEqual();
    const { horizon } = await stand.hub.source('shop');
    console.log(`${compared} rebuilt states equal the source's, ${kills} kills, ${refused} below the horizon, horizon ${horizon}, ${readers.counts.looks} looks by a reader`);
    expect(horizon).toBeGreaterThan(0);
    expect(compared).toBeGreaterThan(KILLS / 6);
    expect(await stand.replica.query("SELECT sink FROM tidemark.checkpoint WHERE sink <> 'replica'", [], 'replica')).toEqual([]);
  });

  async function workIn(workload: ShopWorkload, ms: number): Promise<void> {
    await Promise.race([delay(ms), workload.failed]);
  }

  /** Folds history up to a state; a hub that is killed ends it. */
  async function fold(lsn: string | null): Promise<void> {
    if (lsn === null) return;
    try {
      for await (const _lines of stand.hub.api.compact('shop', `lsn:${lsn}`, AbortSignal.timeout(LIMIT_MS))) continue;
    } catch (failure) {
      const passes = failure instanceof TidemarkError && ['API_UNREACHABLE', 'API_ANSWER', 'ABORTED', 'LOG_BELOW_HORIZON'].includes(failure.code);
      if (!passes) throw failure;
    }
  }

  async function logHas(lsn: string): Promise<void> {
    await stand.hub.until('the log has that state', ({ sources }) => (sources[0]?.position ?? '') !== '' && atLeast(sources[0]?.position ?? '', lsn), LIMIT_MS);
  }

  /** Null: the state is below the horizon by now. */
  async function begin(lsn: string): Promise<string | null> {
    try {
      const answer = await stand.hub.api.rebuild('replica', { tables: null, to: `lsn:${lsn}`, fromScratch: false }, AbortSignal.timeout(LIMIT_MS));
      expect(answer.id).not.toBeNull();
      return answer.id;
    } catch (failure) {
      if (failure instanceof TidemarkError && failure.code === 'LOG_BELOW_HORIZON') return null;
      throw failure;
    }
  }

  async function ended(id: string): Promise<void> {
    await stand.hub.until('the rebuild has ended', ({ sinks }) => {
      const rebuild = sinks[0]?.rebuild;
      if (rebuild?.state === 'failed' || rebuild?.state === 'cancelled') throw new Error(`the rebuild is ${rebuild.state}: ${JSON.stringify(rebuild)}`);
      return rebuild?.id === id && rebuild.state === 'done';
    }, LIMIT_MS);
  }
});

/** Positions as they are printed: two numbers in hexadecimal. */
function atLeast(position: string, lsn: string): boolean {
  const numberOf = (text: string): bigint => {
    const [high = '0', low = '0'] = text.split('/');
    return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`);
  };
  return numberOf(position) >= numberOf(lsn);
}
