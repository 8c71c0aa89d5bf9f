import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Random } from '../../../contracts/runtime.ts';
import { isConnectionLoss } from '../../fixtures/shop/workload.ts';
import { below, type HardDatabase, type HardMix, type Step } from '../hard-workload.ts';

/** What a transaction may meet: a deadlock, a lost race for a key, a table that was just made anew. */
const PART_OF_LIFE = new Set(['40P01', '40001', '23505', '42P01', '0A000', 'XX000', '25P02']);

const someId = (random: Random): number => 1 + below(random, 400);

const MIX: HardMix<pg.Client> = [
  // The long body does not come with the change.
  [30, (client, random) => client.query('UPDATE counters SET n = n + 1 WHERE id = ANY ($1)', [[someId(random), someId(random), someId(random)]])],
  [6, (client, random) => client.query('UPDATE counters SET n = n + 1, body = repeat(md5(random()::text), 100) WHERE id = $1', [someId(random)])],
  // The same key goes and comes again, in one transaction.
  [6, (client, random) => client.query(`
    WITH gone AS (DELETE FROM counters WHERE id = $1 RETURNING *)
    INSERT INTO counters (id, n, slot, body) SELECT id + 1000000, n, -slot - 1000000, body FROM gone`, [someId(random)])
    .then(() => client.query('UPDATE counters SET id = id - 1000000, n = n + 1, slot = -slot - 1000000 WHERE id > 1000000'))],
  [5, async (client, random) => {
    const { rows } = await client.query<{ id: number; n: number; slot: number; body: string }>('DELETE FROM counters WHERE id = $1 RETURNING id, n, slot, body', [someId(random)]);
    for (const { id, n, slot, body } of rows) await client.query('INSERT INTO counters (id, n, slot, body) VALUES ($1, $2, $3, $4)', [id, n + 1, slot, body]);
  }],
  // Unique values change owners.
  [6, async (client, random) => {
    const [a, b] = [someId(random), someId(random)];
    await client.query(
      `UPDATE counters AS c SET n = c.n + 1, slot = o.slot FROM counters AS o
        WHERE (c.id = $1 AND o.id = $2) OR (c.id = $2 AND o.id = $1)`, [a, b]);
  }],
  // Keys change owners.
  [4, async (client, random) => {
    const [a, b] = [someId(random), someId(random)];
    if (a === b) return;
    await client.query('UPDATE counters SET id = 2000000 WHERE id = $1', [a]);
    await client.query('UPDATE counters SET id = $1 WHERE id = $2', [a, b]);
    await client.query('UPDATE counters SET id = $1, n = n + 1 WHERE id = 2000000', [b]);
  }],
  [10, (client, random) => client.query("INSERT INTO bag SELECT $1::int, 'b' || i % 2 FROM generate_series(1, $2::int) AS i", [below(random, 20), 1 + below(random, 4)])],
  [6, (client, random) => client.query('DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag WHERE a = $1 LIMIT 2)', [below(random, 20)])],
  [4, (client, random) => client.query('UPDATE bag SET a = a + 1 WHERE ctid IN (SELECT ctid FROM bag WHERE a = $1 LIMIT 1)', [below(random, 20)])],
  [2, async (client) => {
    await client.query('TRUNCATE visits');
    await client.query("INSERT INTO visits SELECT 'v' || i, 1 FROM generate_series(1, 50) AS i");
  }],
  [6, (client, random) => client.query('INSERT INTO visits VALUES ($1, 1) ON CONFLICT (key) DO UPDATE SET n = visits.n + 1', [`v${below(random, 80)}`])],
  [1, (client) => client.query('TRUNCATE bag')],
  [10, (client, random) => client.query('UPDATE shapes SET n = n + 1 WHERE id = ANY ($1)', [[1 + below(random, 200), 1 + below(random, 200)]])],
  [4, (client, random) => client.query('INSERT INTO shapes (id) VALUES ($1) ON CONFLICT DO NOTHING', [below(random, 100_000)])],
  [4, (client, random) => client.query('DELETE FROM shapes WHERE id = (SELECT max(id) FROM shapes WHERE id > $1)', [200 + below(random, 50_000)])],
  // Many rows at once.
  [0.5, async (client, random) => {
    await client.query("UPDATE counters SET n = n + 1, note = repeat('n', 1000) WHERE id % 4 = $1", [below(random, 4)]);
    await client.query("INSERT INTO bag SELECT i, repeat('x', 100) FROM generate_series(1000, 2000) AS i");
    await client.query('DELETE FROM bag WHERE a >= 1000');
  }],
  [2, longTransaction],
];

/** Stays open while others come and go, and gives up a part of itself. */
async function longTransaction(client: pg.Client, random: Random): Promise<void> {
  await client.query('UPDATE visits SET n = n + 1 WHERE key = $1', [`v${below(random, 50)}`]);
  await client.query('SAVEPOINT doubtful');
  await client.query("INSERT INTO bag SELECT 1, 'given up' FROM generate_series(1, 50)");
  await client.query('ROLLBACK TO SAVEPOINT doubtful');
  await client.query("INSERT INTO bag VALUES (2, 'long')");
  await delay(below(random, 1500));
  await client.query("DELETE FROM bag WHERE b = 'long'");
}

export function hardPostgres(url: string): HardDatabase<pg.Client> {
  return {
    mix: MIX,
    async connect() {
      const client = new pg.Client({ connectionString: url, application_name: 'hard' });
      // A lost connection shows in the statement under way or in the next one.
      client.on('error', () => undefined);
      await client.connect();
      return client;
    },
    commit,
    // The end of a session is the end of its transaction.
    settle: () => Promise.resolve(),
    end: (client) => client.end(),
    isConnectionLoss,
  };
}

/** False: rolled back. One in fifty by the writer itself. */
async function commit(client: pg.Client, step: Step<pg.Client>, random: Random): Promise<boolean> {
  const keep = random.unit() >= 0.02;
  try {
    await client.query('BEGIN');
    await step(client, random);
    await client.query(keep ? 'COMMIT' : 'ROLLBACK');
    return keep;
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || !PART_OF_LIFE.has(error.code ?? '')) throw error;
    await client.query('ROLLBACK');
    return false;
  }
}
