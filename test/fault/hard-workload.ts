import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../contracts/runtime.ts';
import { seededRandom } from '../fixtures/runtime.ts';

/** Work within one transaction, in a session of the database's own kind. */
export type Step<Client> = (client: Client, random: Random) => Promise<unknown>;

/** How often, and what. */
export type HardMix<Client> = readonly (readonly [weight: number, step: Step<Client>])[];

/** The database that what is hard to follow is done in. */
export interface HardDatabase<Client> {
  readonly mix: HardMix<Client>;
  /** @param writer its number, the same again after a loss */
  connect(writer: number): Promise<Client>;
  /** The step as a transaction. Answers false when it was rolled back: on purpose, or by what a transaction may meet. */
  commit(client: Client, step: Step<Client>, random: Random): Promise<boolean>;
  /** Before a session's first transaction and after its last one; what an earlier session of the writer has left open is ended. */
  settle(client: Client, writer: number, random: Random): Promise<void>;
  end(client: Client): Promise<void>;
  isConnectionLoss(error: unknown): boolean;
}

export interface HardWorkload {
  /** Committed, or with an unknown end when the connection was lost. */
  readonly transactions: () => number;
  /** @throws what made a writer fail */
  stop(): Promise<void>;
}

const LONGEST_PAUSE_MS = 12;
const CONNECT_AGAIN_MS = 50;
/** Asked to stop, a writer that is let in nowhere for so long says so: it may be that a server never comes again. */
const SETTLE_LIMIT_MS = 60_000;

export const below = (random: Random, limit: number): number => Math.floor(random.unit() * limit);

export function startHardWorkload<Client>(database: HardDatabase<Client>, seed: number, writers = 2): HardWorkload {
  const stopping = new AbortController();
  let settleUntil = Number.POSITIVE_INFINITY;
  let transactions = 0;
  const write = async (writer: number, random: Random): Promise<void> => {
    const client = await database.connect(writer);
    try {
      await database.settle(client, writer, random);
      while (!stopping.signal.aborted) {
        if (await database.commit(client, choose(database.mix, random), random)) transactions++;
        await delay(below(random, LONGEST_PAUSE_MS));
      }
      await database.settle(client, writer, random);
    } finally {
      // After a loss there is nothing left to end.
      await database.end(client).catch(() => undefined);
    }
  };
  const run = async (writer: number, random: Random): Promise<void> => {
    for (let isSettled = false; !isSettled; ) {
      try {
        await write(writer, random);
        isSettled = true;
      } catch (error) {
        if (!database.isConnectionLoss(error)) throw error;
        if (performance.now() > settleUntil) throw new Error(`writer ${writer} could not end what it has left open in ${SETTLE_LIMIT_MS} ms`, { cause: error });
        await delay(CONNECT_AGAIN_MS);
      }
    }
  };
  const done = Promise.all(Array.from({ length: writers }, (_, i) => run(i, seededRandom(seed * 100 + i))));
  // Seen by `stop`, if by nobody before.
  done.catch(() => undefined);
  return {
    transactions: () => transactions,
    async stop() {
      settleUntil = performance.now() + SETTLE_LIMIT_MS;
      stopping.abort();
      await done;
    },
  };
}

function choose<Client>(mix: HardMix<Client>, random: Random): Step<Client> {
  let left = random.unit() * mix.reduce((sum, [weight]) => sum + weight, 0);
  const found = mix.find(([weight]) => (left -= weight) < 0) ?? mix[0];
  if (found === undefined) throw new Error('the mix is empty');
  return found[1];
}
