import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { modelColumn, type ModelTable } from '../../../contracts/kit/sink-model.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { columnsOf } from './replica-stand.ts';
import { ShadowStand } from './shadow-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server?.[Symbol.asyncDispose]());

const ROWS = 500;
const TOTAL = 2 * ROWS * 100;

/** Two tables between which amounts move: at each place their sum is the same, and every row has the same version. */
async function accounts(stand: ShadowStand): Promise<ModelTable[]> {
  const tables = ['one', 'two'].map((name) => stand.model.createTable('public', name, columnsOf({ id: 'integer', amount: 'integer', version: 'integer' }), ['id']));
  for (const table of tables) for (let id = 0; id < ROWS; id++) stand.model.insert(table, [String(id), '100', '1']);
  await stand.apply();
  return tables;
}

function move(stand: ShadowStand, [one, two]: readonly ModelTable[], version: number, extra: readonly string[] = []): void {
  if (one === undefined || two === undefined) throw new Error('there are two tables');
  for (let id = 0; id < ROWS; id++) {
    const [a, b] = [one, two].map((table) => table.expected().find((row) => row[0] === String(id)) ?? []);
    if (a === undefined || b === undefined) throw new Error('there are two rows');
    stand.model.update(one, a, [String(id), String(100 - version), String(version), ...extra]);
    stand.model.update(two, b, [String(id), String(100 + version), String(version), ...extra]);
  }
  stand.append();
}

/** Another column each time, so that the tables are exchanged. */
function widen(stand: ShadowStand, tables: readonly ModelTable[], version: number): void {
  for (const table of tables) {
    const column = modelColumn({ name: 'note', type: { kind: 'text', length: null, fixed: false }, nativeType: 'text', fill: 'x' }, version + 3);
    stand.model.alterTable(table, { columns: [...table.schema.columns.slice(0, 3), column] });
  }
}

interface Sums {
  readonly total: number;
  readonly low: number;
  readonly high: number;
  readonly rows: number;
}

const SUMS = 'sum(amount)::int AS total, min(version) AS low, max(version) AS high, count(*)::int AS rows';

/** Reads over and over until it is disposed; every read has one state, or it fails. */
class Readers implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #loops: Promise<void>[] = [];
  readonly versions = new Set<number>();
  reads = 0;
  readonly failures: unknown[] = [];

  constructor(url: string) {
    const repeatable = (client: pg.Client): Promise<void> => this.#repeatable(client);
    const kinds = [(client: pg.Client) => this.#statement(client), (client: pg.Client) => this.#statement(client), (client: pg.Client) => this.#prepared(client), repeatable, repeatable, (client: pg.Client) => this.#crosswise(client)];
    for (const kind of kinds) this.#loops.push(this.#loop(url, kind).catch((error: unknown) => void this.failures.push(error)));
  }

  async #loop(url: string, read: (client: pg.Client) => Promise<void>): Promise<void> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      while (!this.#stop.signal.aborted) {
        await read(client);
        this.reads++;
      }
    } finally {
      await client.end();
    }
  }

  async #statement(client: pg.Client): Promise<void> {
    const { rows } = await client.query<Sums>(`SELECT ${SUMS} FROM (SELECT amount, version FROM one UNION ALL SELECT amount, version FROM two) AS all_rows`);
    this.#judge(rows[0]);
  }

  async #prepared(client: pg.Client): Promise<void> {
    const { rows } = await client.query<Sums>({ name: 'both', text: `SELECT ${SUMS} FROM (SELECT amount, version FROM one UNION ALL SELECT amount, version FROM two) AS all_rows` });
    this.#judge(rows[0]);
  }

  /** The snapshot is taken first; the tables are come to one after the other, each some time later. */
  async #repeatable(client: pg.Client): Promise<void> {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await client.query('SELECT 1');
    await delay(Math.random() * 30);
    const [one] = (await client.query<Sums>(`SELECT ${SUMS} FROM one`)).rows;
    await delay(Math.random() * 30);
    const [two] = (await client.query<Sums>(`SELECT ${SUMS} FROM two`)).rows;
    await client.query('COMMIT');
    if (one === undefined || two === undefined) throw new Error('no sums');
    this.#judge({ total: one.total + two.total, low: Math.min(one.low, two.low), high: Math.max(one.high, two.high), rows: one.rows + two.rows });
  }

  /** The locks that its transaction keeps are taken in the other order than everybody else takes them in. */
  async #crosswise(client: pg.Client): Promise<void> {
    await client.query('BEGIN');
    for (const table of ['two', 'one']) {
      const [sums] = (await client.query<Sums>(`SELECT ${SUMS} FROM ${table}`)).rows;
      expect(sums).toMatchObject({ low: sums?.high, rows: ROWS });
      await delay(Math.random() * 30);
    }
    await client.query('COMMIT');
  }

  #judge(sums: Sums | undefined): void {
    expect(sums).toEqual({ total: TOTAL, low: sums?.low, high: sums?.low, rows: 2 * ROWS });
    this.versions.add(sums?.low ?? 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#loops);
  }
}

async function oids(stand: ShadowStand): Promise<unknown> {
  return stand.sql("SELECT 'one'::regclass::oid, 'two'::regclass::oid");
}

describe('readers all the while', () => {
  test.each([
    ['merged', async (stand: ShadowStand) => stand.sql('CREATE VIEW v AS SELECT amount FROM one'), false],
    ['exchanged', async () => undefined, true],
  ] as const)('see one state or the other, and no error, when tables are %s, over and over', async (_, prepare, isExchanged) => {
    await using stand = await ShadowStand.open(server, { options: { lock_timeout: '20s' } });
    const tables = await accounts(stand);
    await prepare(stand);
    const url = server.url(stand.place.database);
    const readers = new Readers(url);
    try {
      for (let version = 2; version <= 6; version++) {
        if (isExchanged) widen(stand, tables, version);
        move(stand, tables, version, isExchanged ? ['x'] : []);
        const before = await oids(stand);
        await stand.rebuild();
        if (isExchanged) expect(await oids(stand)).not.toEqual(before);
        else expect(await oids(stand)).toEqual(before);
        await stand.goOn();
        await delay(20);
      }
    } finally {
      await readers[Symbol.asyncDispose]();
    }
    expect(readers.failures).toEqual([]);
    expect(readers.versions.size).toBeGreaterThan(3);
    await stand.expectEqual();
    console.log(`readers: ${readers.reads} reads, ${readers.versions.size} of 6 states seen`);
  });

  test('one whose snapshot is older than the rebuild has the old rows, whatever is swapped in meanwhile', async () => {
    await using stand = await ShadowStand.open(server);
    const tables = await accounts(stand);
    await using old = await server.connect(stand.place.database);
    await old.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await old.query('SELECT 1');
    widen(stand, tables, 2);
    move(stand, tables, 2, ['x']);
    const before = await oids(stand);
    await stand.rebuild();
    await stand.expectEqual();
    expect(await oids(stand)).toEqual(before);
    const { rows } = await old.query<Sums>(`SELECT ${SUMS} FROM one`);
    expect(rows).toEqual([{ total: TOTAL / 2, low: 1, high: 1, rows: ROWS }]);
    await old.query('COMMIT');
  });

  test('one who holds a table that gets another shape: the swap waits for a time, then is to be tried again', async () => {
    await using stand = await ShadowStand.open(server);
    const tables = await accounts(stand);
    await using holder = await server.connect(stand.place.database);
    for (const table of tables) stand.model.alterTable(table, { columns: table.schema.columns.map((column) => (column.name === 'version' ? { ...column, name: 'state' } : column)) });
    stand.append();
    await stand.fill();
    await holder.query('BEGIN; SELECT count(*) FROM two');
    await expect(stand.swap()).rejects.toThrow(expect.objectContaining({ code: 'REPLICA_BUSY', retry: 'auto' }));
    expect(await stand.sql('SELECT count(version) FROM one')).toEqual([[String(ROWS)]]);
    await holder.query('COMMIT');
    await stand.swap();
    await stand.expectEqual();
    await stand.expectOneSet(stand.model.offset);
  });

  test('one who holds a table that may be merged: it is', async () => {
    await using stand = await ShadowStand.open(server);
    const { tables } = stand.model;
    await accounts(stand);
    await stand.sql('TRUNCATE one, two');
    await using holder = await server.connect(stand.place.database);
    await stand.fill();
    // Large enough to be exchanged.
    await stand.sql("INSERT INTO tidemark_shadow_replica.rebuilt_1 SELECT i, 1, 1 FROM generate_series(1000, 300000) AS i");
    const before = await oids(stand);
    await holder.query('BEGIN; SELECT count(*) FROM two');
    await stand.swap();
    await holder.query('COMMIT');
    expect(await oids(stand)).toEqual(before);
    expect(tables.length).toBe(2);
    expect(await stand.sql('SELECT (SELECT count(*) FROM one), (SELECT count(*) FROM two)')).toEqual([[String(ROWS + 299_001), String(ROWS)]]);
    await stand.expectOneSet(stand.model.offset);
  });
});
