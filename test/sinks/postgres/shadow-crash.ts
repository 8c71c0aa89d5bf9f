import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Swap } from '../../../contracts/rebuild.ts';
import { PostgresSink } from '../../../sinks/postgres/sink.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { sinkConfig } from './replica-place.ts';
import { type Before, mixedTables } from './shadow-scenario.ts';
import { leftovers, ShadowStand } from './shadow-stand.ts';
import { type Fault, StatementFaults } from './statement-faults.ts';

let server: PostgresServer;
let stand: ShadowStand;
let old: Before[];
let request: Swap;

/** @param steps for each fault: it happens at the first statement, and at every so manieth after it */
export function crashCases(steps: readonly (readonly [Fault, number])[]): void {
  beforeAll(prepare);
  afterAll(() => server?.[Symbol.asyncDispose]());
  afterEach(() => vi.restoreAllMocks());
  describe.each(steps)('the hub is %s', (fault, step) => {
    cases(fault, step);
  });
}

async function prepare(): Promise<void> {
  server = await startPostgres();
  stand = await ShadowStand.open(server);
  old = await mixedTables(stand);
  request = stand.request();
  await stand.sink[Symbol.asyncDispose]();
  // Nobody may be connected to a database that is copied.
  await stand.place.reader.end();
}

/** A copy of the prepared database, and hubs that write to it. */
class Copy implements AsyncDisposable {
  readonly name: string;
  readonly reader: pg.Client;
  static #number = 0;
  readonly #sinks: PostgresSink[] = [];

  private constructor(name: string, reader: pg.Client) {
    this.name = name;
    this.reader = reader;
  }

  static async of(template: string): Promise<Copy> {
    const name = `crash_${++Copy.#number}`;
    await server.query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
    return new Copy(name, await connected(name));
  }

  /** Another process. */
  sink(): PostgresSink {
    const sink = new PostgresSink(sinkConfig(server.url(this.name), { options: { lock_timeout: '5s' } }), createTestRuntime({ seed: 1000 + this.#sinks.length }));
    this.#sinks.push(sink);
    return sink;
  }

  async rows(sql: string): Promise<(string | null)[][]> {
    const { rows } = await this.reader.query<(string | null)[]>({ text: sql, rowMode: 'array' });
    return rows.map((row) => row.map((cell) => (cell === null ? null : String(cell)))).toSorted(byText);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const sink of this.#sinks) await sink[Symbol.asyncDispose]();
    await this.reader.end().catch(() => undefined);
    await server.query(`DROP DATABASE ${this.name} WITH (FORCE)`);
  }
}

async function connected(database: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: server.url(database) });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** Which of the two sets readers see: never a mixture, and always with its own checkpoint. */
async function setOf(copy: Copy): Promise<'old' | 'new'> {
  const columns = await copy.rows("SELECT attname FROM pg_attribute WHERE attrelid = 'exchanged'::regclass AND attname IN ('name', 'title')");
  const set = columns[0]?.[0] === 'title' ? 'new' : 'old';
  const at = await copy.rows("SELECT \"offset\" FROM tidemark.checkpoint WHERE sink = 'replica'");
  expect(at, set).toEqual([[String(set === 'new' ? request.to.offset : request.from?.offset)]]);
  const expected = set === 'new' ? stand.model.tables.map((table) => ({ schema: table.schema, rows: table.expected() })) : old;
  for (const { schema, rows } of expected) {
    const names = schema.columns.map((column) => `"${column.name}"::text`).join(', ');
    const found = await copy.rows(`SELECT ${names} FROM ${schema.namespace}.${schema.name}`);
    const wanted = rows.map((row) => row.map((cell, index) => textOf(cell, schema.columns[index]?.type.kind))).toSorted(byText);
    expect(found, `${set}: ${schema.name}`).toEqual(wanted);
  }
  expect(await copy.rows('SELECT count(*) FROM names')).toEqual([['20']]);
  return set;
}

function byText(a: unknown, b: unknown): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1;
}

function textOf(cell: string | Buffer | null | undefined, kind: string | undefined): string | null {
  if (Buffer.isBuffer(cell)) return `\\x${cell.toString('hex')}`;
  if (kind === 'bool' && (cell === 't' || cell === 'f')) return cell === 't' ? 'true' : 'false';
  return cell ?? null;
}

/** Sessions of the one that was killed are gone. */
async function settled(copy: Copy, faults: StatementFaults): Promise<Copy> {
  await faults.restarted;
  for (;;) {
    const rows = await server.query("SELECT FROM pg_stat_activity WHERE application_name LIKE 'tidemark%'");
    if (rows.length === 0) break;
    await delay(5);
  }
  const alive = await copy.reader.query('SELECT 1').then(() => true, () => false);
  return alive ? copy : Object.assign(copy, { reader: await connected(copy.name) });
}

/**
 * Does `work` once for each of its statements, with the fault at that one, and then what somebody does who comes after it.
 * @returns the number of statements
 */
async function atEach(template: string, fault: Fault, step: number, work: (sink: PostgresSink) => Promise<void>, after: (copy: Copy, n: number) => Promise<void>): Promise<number> {
  for (let n = 1; ; n += step) {
    await using copy = await Copy.of(template);
    const faults = new StatementFaults(n, fault, () => server.restart('immediate'));
    const outcome = await work(copy.sink()).then(() => null, (error: unknown) => error);
    vi.restoreAllMocks();
    await settled(copy, faults);
    if (!faults.happened) {
      expect(outcome).toBeNull();
      return n - 1;
    }
    await after(copy, n);
  }
}

/** A database to make copies of. */
async function template(name: string, prepare: (sink: PostgresSink) => Promise<void>): Promise<string> {
  await using copy = await Copy.of(stand.place.database);
  const sink = copy.sink();
  await prepare(sink);
  await sink[Symbol.asyncDispose]();
  await copy.reader.end();
  await server.query(`CREATE DATABASE ${name} TEMPLATE ${copy.name}`);
  return name;
}

function cases(fault: Fault, step: number): void {
  const signal = new AbortController().signal;
  const suffix = fault.replace(' ', '_');

  test('of the swap: the old set or the new is served; a second attempt ends with one set, so does giving up', async () => {
    const filled = await template(`filled_${suffix}`, async (sink) => {
      await stand.fill({ of: sink });
      await sink.shadow.finish(request.tables, () => undefined, signal);
    });
    const seen = new Set<string>();
    const statements = await atEach(filled, fault, step, (sink) => sink.shadow.swap(request, signal), async (copy, n) => {
      const set = await setOf(copy);
      seen.add(set);
      const next = copy.sink();
      if (n % 3 === 0) await next.shadow.discard(signal);
      else await next.shadow.swap(request, signal);
      expect(await setOf(copy)).toBe(n % 3 === 0 ? set : 'new');
      expect(await leftovers(copy)).toEqual([]);
      const checkpoint = await next.open(stand.model.start(), signal);
      expect([request.from?.offset, request.to.offset]).toContain(checkpoint?.offset);
    });
    if (step === 1) expect([...seen].toSorted()).toEqual(['new', 'old']);
    console.log(`${fault}: ${statements} statements of a swap`);
  });

  test('of filling and preparing: the next attempt goes on; giving up leaves nothing', async () => {
    const work = async (sink: PostgresSink): Promise<void> => {
      await stand.fill({ of: sink });
      await sink.shadow.finish(request.tables, () => undefined, signal);
    };
    const statements = await atEach(stand.place.database, fault, step * 2, work, async (copy, n) => {
      expect(await setOf(copy)).toBe('old');
      const next = copy.sink();
      if (n % 3 === 0) {
        await next.shadow.discard(signal);
        expect(await leftovers(copy)).toEqual([]);
        expect(await copy.rows("SELECT to_regnamespace('shop')")).toEqual([[null]]);
        return;
      }
      await work(next);
      await next.shadow.swap(request, signal);
      expect(await setOf(copy)).toBe('new');
      expect(await leftovers(copy)).toEqual([]);
    });
    console.log(`${fault}: ${statements} statements to fill and prepare`);
  });

  test('of giving up: the next attempt leaves nothing', async () => {
    const filled = await template(`given_up_${suffix}`, (sink) => stand.fill({ of: sink }).then(() => undefined));
    await atEach(filled, fault, step, (sink) => sink.shadow.discard(signal), async (copy) => {
      expect(await setOf(copy)).toBe('old');
      await copy.sink().shadow.discard(signal);
      expect(await leftovers(copy)).toEqual([]);
      expect(await setOf(copy)).toBe('old');
    });
  });
}
