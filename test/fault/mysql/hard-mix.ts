import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../contracts/runtime.ts';
import type { MysqlFlavor } from '../../fixtures/mysql.ts';
import type { MysqlSession } from '../../fixtures/mysql-session.ts';
import { isMysqlConnectionLoss } from '../../fixtures/shop/mysql-workload.ts';
import { below, type HardDatabase, type HardMix, type Step } from '../hard-workload.ts';

/**
 * What a transaction may meet: a deadlock, too long a wait, a lost race for a key, a table that was just made anew or has got
 * another shape, an XA transaction that was given up, one that is in the way of an end.
 */
const PART_OF_LIFE = new Set([1213, 1020, 1205, 1062, 1146, 1054, 1412, 1615, 1136, 1317, 1614, 1402, 1613]);

const someId = (random: Random): number => 1 + below(random, 400);

/** What sessions choose from. MariaDB leaves out columns that have changed where an image is not full. */
const IMAGES = { mysql: ['FULL', 'MINIMAL', 'NOBLOB'], mariadb: ['FULL', 'FULL_NODUP'] } as const;

const MIX: HardMix<MysqlSession> = [
  // The long text does not come with the change where images are not whole.
  [30, (client, random) => client.query('UPDATE counters SET n = n + 1 WHERE id IN (?, ?, ?)', [someId(random), someId(random), someId(random)])],
  [6, (client, random) => client.query("UPDATE counters SET n = n + 1, body = REPEAT(SHA2(RAND(), 256), 50) WHERE id = ?", [someId(random)])],
  // A part of a document: the rest of it does not come where the server writes differences.
  [6, (client, random) => client.query("UPDATE counters SET doc = JSON_REPLACE(doc, '$.n', ?), n = n + 1 WHERE id = ?", [below(random, 100_000), someId(random)])],
  [3, (client, random) => client.query("UPDATE counters SET doc = JSON_SET(doc, CONCAT('$.k', ?), ?) WHERE id = ?", [below(random, 5), 'x'.repeat(below(random, 100)), someId(random)])],
  // The same key goes and comes again, in one transaction.
  [6, async (client, random) => {
    const id = someId(random);
    await client.query('UPDATE counters SET id = id + 1000000, slot = -slot - 1000000 WHERE id = ?', [id]);
    await client.query('UPDATE counters SET id = id - 1000000, n = n + 1, slot = -slot - 1000000 WHERE id = ?', [id + 1_000_000]);
  }],
  [5, async (client, random) => {
    const id = someId(random);
    const [row] = await client.query('SELECT n, slot, body, doc FROM counters WHERE id = ? FOR UPDATE', [id]);
    if (row === undefined) return;
    await client.query('DELETE FROM counters WHERE id = ?', [id]);
    await client.query('INSERT INTO counters (id, n, slot, body, doc) VALUES (?, ? + 1, ?, ?, ?)', [id, row['n'], row['slot'], row['body'], row['doc']]);
  }],
  [3, (client, random) => client.query("REPLACE INTO counters (id, n, slot, body) SELECT id, n + 1, slot, CONCAT('replaced ', n) FROM counters WHERE id = ?", [someId(random)])],
  // Unique values change owners.
  [6, async (client, random) => {
    const [a, b] = [someId(random), someId(random)];
    const rows = await client.query('SELECT id, slot FROM counters WHERE id IN (?, ?) ORDER BY id FOR UPDATE', [a, b]);
    const [one, two] = rows;
    if (one === undefined || two === undefined) return;
    await client.query('UPDATE counters SET slot = -1 WHERE id = ?', [one['id']]);
    await client.query('UPDATE counters SET slot = ? WHERE id = ?', [one['slot'], two['id']]);
    await client.query('UPDATE counters SET slot = ?, n = n + 1 WHERE id = ?', [two['slot'], one['id']]);
  }],
  // Keys change owners.
  [4, async (client, random) => {
    const [a, b] = [someId(random), someId(random)];
    if (a === b) return;
    await client.query('UPDATE counters SET id = 2000000 WHERE id = ?', [a]);
    await client.query('UPDATE counters SET id = ? WHERE id = ?', [a, b]);
    await client.query('UPDATE counters SET id = ?, n = n + 1 WHERE id = 2000000', [b]);
  }],
  // The same key for the collation, another one in bytes.
  [4, (client, random) => client.query('UPDATE visits SET name = IF(name = BINARY LOWER(name), UPPER(name), LOWER(name)), n = n + 1 WHERE name = ?', [`v${below(random, 50)}`])],
  [10, (client, random) => client.query('INSERT INTO bag VALUES ?', [Array.from({ length: 1 + below(random, 4) }, (_, i) => [below(random, 20), `b${i % 2}`, 'b\0'])])],
  [6, (client, random) => client.query('DELETE FROM bag WHERE a = ? LIMIT 2', [below(random, 20)])],
  [4, (client, random) => client.query('UPDATE bag SET a = a + 1 WHERE a = ? LIMIT 1', [below(random, 20)])],
  [2, async (client) => {
    await client.query('TRUNCATE TABLE visits');
    await client.query('INSERT IGNORE INTO visits VALUES ?', [Array.from({ length: 50 }, (_, i) => [`v${i + 1}`, 1])]);
  }],
  [6, (client, random) => client.query('INSERT INTO visits VALUES (?, 1) ON DUPLICATE KEY UPDATE n = n + 1', [`v${below(random, 80)}`])],
  [1, (client) => client.query('TRUNCATE TABLE bag')],
  [10, (client, random) => client.query('UPDATE shapes SET n = n + 1 WHERE id IN (?, ?)', [1 + below(random, 200), 1 + below(random, 200)])],
  [4, (client, random) => client.query('INSERT IGNORE INTO shapes (id) VALUES (?)', [below(random, 100_000)])],
  [4, (client, random) => client.query('DELETE FROM shapes WHERE id > ? ORDER BY id DESC LIMIT 1', [200 + below(random, 50_000)])],
  // Many rows at once.
  [0.5, async (client, random) => {
    await client.query("UPDATE counters SET n = n + 1, note = REPEAT('n', 1000) WHERE id % 4 = ?", [below(random, 4)]);
    for (let i = 0; i < 5; i++) await client.query('INSERT INTO bag VALUES ?', [Array.from({ length: 1000 }, (_, n) => [1000 + n, 'x'.repeat(100), null])]);
    await client.query('DELETE FROM bag WHERE a >= 1000');
  }],
  [2, longTransaction],
];

/** Stays open while others come and go, and gives up a part of itself. */
async function longTransaction(client: MysqlSession, random: Random): Promise<void> {
  await client.query('UPDATE visits SET n = n + 1 WHERE name = ?', [`v${below(random, 50)}`]);
  await client.query('SAVEPOINT doubtful');
  await client.query('INSERT INTO bag VALUES ?', [Array.from({ length: 50 }, () => [1, 'given up', null])]);
  await client.query('ROLLBACK TO SAVEPOINT doubtful');
  await client.query("INSERT INTO bag VALUES (2, 'long', NULL)");
  await delay(below(random, 1500));
  await client.query("DELETE FROM bag WHERE b = 'long'");
}

/** Of the XA transactions of one writer, which nobody else ends. */
const xaName = (writer: number): string => `hard-${writer}-`;
let xaCount = 0;

/** @param connect a new session with the primary, as a user without rights over the server but to set its own session */
export function hardMysql(flavor: MysqlFlavor, connect: () => Promise<MysqlSession>): HardDatabase<MysqlSession> {
  const writers = new WeakMap<MysqlSession, number>();
  return {
    mix: MIX,
    async connect(writer) {
      const client = await connect();
      writers.set(client, writer);
      await client.query('SET SESSION innodb_lock_wait_timeout = 2, SESSION lock_wait_timeout = 5');
      return client;
    },
    async commit(client, step, random) {
      if (random.unit() < 0.1) await setImages(client, flavor, random);
      return random.unit() < 0.04 ? await commitXa(client, writers.get(client) ?? 0, step, random) : await commit(client, step, random);
    },
    settle: endPrepared,
    async end(client) {
      await client[Symbol.asyncDispose]();
    },
    isConnectionLoss: isMysqlConnectionLoss,
  };
}

/** From the next transaction on, other columns are left out of what is logged. */
async function setImages(client: MysqlSession, flavor: MysqlFlavor, random: Random): Promise<void> {
  const image = IMAGES[flavor][below(random, IMAGES[flavor].length)] ?? 'FULL';
  const settings = [`SESSION binlog_row_image = '${image}'`];
  if (flavor === 'mysql') {
    // A part of a document is of use beside the old one only, which other images leave out.
    const isPartial = image === 'FULL' && random.unit() < 0.5;
    settings.push(`SESSION binlog_transaction_compression = ${below(random, 2)}`, `SESSION binlog_row_value_options = '${isPartial ? 'PARTIAL_JSON' : ''}'`);
  }
  await client.query(`SET ${settings.join(', ')}`);
}

/** False: rolled back. One in fifty by the writer itself. */
async function commit(client: MysqlSession, step: Step<MysqlSession>, random: Random): Promise<boolean> {
  const keep = random.unit() >= 0.02;
  try {
    await client.query('START TRANSACTION');
    await step(client, random);
    await client.query(keep ? 'COMMIT' : 'ROLLBACK');
    return keep;
  } catch (error) {
    if (!isPartOfLife(error)) throw error;
    await client.query('ROLLBACK');
    return false;
  }
}

/** In two phases, between which others go on. What a statement cannot do there is left out. */
async function commitXa(client: MysqlSession, writer: number, step: Step<MysqlSession>, random: Random): Promise<boolean> {
  const name = `'${xaName(writer)}${process.pid}-${++xaCount}'`;
  const keep = random.unit() >= 0.3;
  try {
    await client.query(`XA START ${name}`);
    await client.query('UPDATE counters SET n = n + 1 WHERE id = ?', [someId(random)]);
    await step(client, random);
    await client.query(`XA END ${name}; XA PREPARE ${name}`);
  } catch (error) {
    if (!isPartOfLife(error) && numberOf(error) !== XA_WRONG_STATE && numberOf(error) !== XA_NO_SAVEPOINT) throw error;
    await endFailed(client, name);
    return false;
  }
  await delay(below(random, 400));
  await client.query(`XA ${keep ? 'COMMIT' : 'ROLLBACK'} ${name}`);
  return keep;
}

const XA_WRONG_STATE = 1399;
const XA_NO_SAVEPOINT = 1178;
const XA_UNKNOWN = 1397;

/** Whatever state it is in. */
async function endFailed(client: MysqlSession, name: string): Promise<void> {
  for (const statement of [`XA END ${name}`, `XA ROLLBACK ${name}`]) {
    try {
      await client.query(statement);
    } catch (error) {
      if (!isPartOfLife(error) && numberOf(error) !== XA_WRONG_STATE && numberOf(error) !== XA_UNKNOWN) throw error;
    }
  }
}

/** What a lost connection has left prepared: committed or not, as another part of the application would decide. */
async function endPrepared(client: MysqlSession, writer: number, random: Random): Promise<void> {
  for (const row of await client.query('XA RECOVER')) {
    const name = row['data'] ?? '';
    if (name.startsWith(xaName(writer))) await client.query(`XA ${below(random, 2) === 0 ? 'COMMIT' : 'ROLLBACK'} '${name}'`);
  }
}

function numberOf(error: unknown): number {
  return error instanceof Error && 'errno' in error ? Number(error.errno) : 0;
}

function isPartOfLife(error: unknown): boolean {
  return PART_OF_LIFE.has(numberOf(error));
}
