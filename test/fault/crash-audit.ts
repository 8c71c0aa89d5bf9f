import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { lsnOfPosition, postgresPositions } from '../../connectors/postgres/position.ts';
import { checkLog } from '../../hub/log/embedded/check/check-log.ts';
import type { LogFinding } from '../../hub/log/embedded/check/finding.ts';
import { EmbeddedLogEngine } from '../../hub/log/embedded/engine.ts';
import { stoppedLog } from '../../hub/log/embedded/held-log.ts';
import { nodeFiles } from '../../hub/runtime/node-files.ts';
import { compareDatabases } from '../fixtures/compare-databases.ts';
import { createTestRuntime } from '../fixtures/runtime.ts';
import { tornTransactions } from '../fixtures/shop/schema.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';
import type { CrashWorld } from './crash-world.ts';
import { LogAudit } from './log-audit.ts';

const CATCH_UP_LIMIT_MS = 90_000;
const ASK_AGAIN_MS = 50;

/** Looks at a world from outside. Each finding is a sentence; none is as it should be. */
export class CrashAudit {
  readonly #world: CrashWorld;
  readonly #log: LogAudit;

  constructor(world: CrashWorld) {
    this.#world = world;
    this.#log = new LogAudit(world.dataFolder, 'shop', postgresPositions);
  }

  /**
   * With the hub dead, at any moment, both servers up: the slot is not ahead of the log; the replica stands at an offset
   * that the log has, and is exactly the fold of the log up to there.
   */
  async atDeath(): Promise<string[]> {
    const confirmed = await this.#world.confirmedFlush();
    const { highWatermark, position } = await this.#log.end();
    const reached = position === null ? 0 : lsnOfPosition(position);
    if (confirmed !== null && position !== null && confirmed > reached) {
      return [`the slot is confirmed up to ${confirmed}, the log ends at ${reached}: ${confirmed - reached} bytes are lost`];
    }
    await using replica = await this.#world.replica.connect('replica');
    await replica.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const offset = await checkpointOf(replica);
    if (offset === null) return [];
    if (offset > highWatermark) return [`the replica is at offset ${offset}, the log ends at ${highWatermark}`];
    if (offset < this.#log.offset) return [`the replica went back to offset ${offset}; it was at ${this.#log.offset} before`];
    await this.#log.advance(offset);
    const { differences } = await this.#log.tables.compareWith(replica, false);
    return differences.map((difference) => `the replica at offset ${offset} is not the fold of the log: ${difference}`);
  }

  /** With nobody writing: everything arrives by itself, and is equal. */
  async inTheEnd(): Promise<string[]> {
    await this.#caughtUp();
    const compared = await compareDatabases(this.#world.source.url('shop'), this.#world.replica.url('replica'));
    const findings = compared.filter(({ equal }) => !equal).map(({ table, differences }) => `replica, ${table}: ${differences.join('; ')}`);
    if (compared.length === 0) findings.push('there is nothing to compare');
    await using replica = await this.#world.replica.connect('replica');
    findings.push(...(await tornTransactions(replica)), ...(await this.#compareCache()));
    return findings;
  }

  /** Offset up to which the log was read: more must not be folded, or it could not be audited. */
  get readUpTo(): number {
    return this.#log.offset;
  }

  /** With the hub dead and nobody writing: the log is whole, and its fold is the source. */
  async ofTheLog(): Promise<string[]> {
    await this.#log.advance();
    await using source = await this.#world.source.connect('shop');
    const { tables, differences } = await this.#log.tables.compareWith(source, true);
    return tables === 0 ? ['the log has no table'] : [...differences];
  }

  /** What `tidemark log verify` finds: nothing, also where each update and delete is asked for its row. */
  async ofTheFiles(): Promise<LogFinding[]> {
    const data = this.#world.dataFolder;
    await using scratch = await temporaryDirectory('crash-verify');
    const findings: LogFinding[] = [];
    const log = await stoppedLog(nodeFiles, data, 'shop');
    await checkLog({
      files: nodeFiles, data, log, scratch: join(scratch.path, 'sort'),
      found: (finding) => findings.push(finding), progress: () => undefined, signal: new AbortController().signal,
    });
    return findings;
  }

  async #caughtUp(): Promise<void> {
    const { hub } = this.#world;
    await hub.until(
      'source and sinks run again',
      ({ sources, sinks }) => [...sources, ...sinks].every(({ state }) => ['streaming', 'applying', 'caught-up'].includes(state)),
      CATCH_UP_LIMIT_MS,
    );
    // What the stream has not come to yet may have a table copied again.
    await this.#passesEnd();
    await this.#everyTableConsistent();
    await this.#passesEnd();
  }

  async #passesEnd(): Promise<void> {
    const lsn = await this.#world.insertLsn();
    for (const sink of ['replica', 'cache']) await this.#world.hub.api.wait(sink, `lsn:${lsn}`, CATCH_UP_LIMIT_MS, AbortSignal.timeout(CATCH_UP_LIMIT_MS));
  }

  /** By the identities that the source has: a table that was made anew under its name is another one. */
  async #everyTableConsistent(): Promise<void> {
    const wanted = await this.#world.sourceTables();
    const limit = performance.now() + CATCH_UP_LIMIT_MS;
    for (;;) {
      await using engine = await EmbeddedLogEngine.openReadOnly(this.#world.dataFolder, createTestRuntime());
      const catalog = (await engine.open('shop', { create: false })).catalog();
      const states = wanted.map((oid) => catalog.bySourceId(oid)?.state ?? { state: 'unknown' });
      if (states.every(({ state }) => state === 'consistent')) return;
      if (performance.now() > limit) throw new Error(`not every table has been copied: ${JSON.stringify(states)}\n${JSON.stringify(await this.#world.hub.status())}`);
      await delay(ASK_AGAIN_MS);
    }
  }

  /** The cache has exactly the rows of the source, by the default key template and one field per column. */
  async #compareCache(): Promise<string[]> {
    await using source = await this.#world.source.connect('shop');
    await using redis = this.#world.cache.client();
    await source.query("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET extra_float_digits = 3");
    const findings: string[] = [];
    const left = new Set(await redis.keys('public.*'));
    for (const table of await keyedTables(source)) {
      const columns = table.columns.map((column) => `${pg.escapeIdentifier(column)}::text`);
      const { rows } = await source.query<Record<string, string | null>>(`SELECT ${columns.join(', ')} FROM ${pg.escapeIdentifier(table.name)}`);
      const keys = rows.map((row) => `public.${table.name}:${table.key.map((column) => row[column]).join(':')}`);
      const pipeline = redis.pipeline();
      for (const key of keys) pipeline.hgetall(key);
      const answers = (await pipeline.exec()) ?? [];
      rows.forEach((row, index) => {
        left.delete(keys[index] ?? '');
        const there = fieldsText(answers[index]?.[1]);
        const wanted = fieldsText(row);
        if (there !== wanted && findings.length < 5) findings.push(`cache, ${keys[index]}: ${there.slice(0, 300)} instead of ${wanted.slice(0, 300)}`);
      });
    }
    if (left.size > 0) findings.push(`cache: ${left.size} keys without a row, such as ${[...left].slice(0, 3).join(', ')}`);
    return findings;
  }
}

async function checkpointOf(replica: pg.ClientBase): Promise<number | null> {
  const { rows: there } = await replica.query<{ there: boolean }>("SELECT to_regclass('tidemark.checkpoint') IS NOT NULL AS there");
  if (there[0]?.there !== true) return null;
  const { rows } = await replica.query<{ offset: string }>('SELECT "offset"::text FROM tidemark.checkpoint WHERE sink = $1', ['replica']);
  return rows[0] === undefined ? null : Number(rows[0].offset);
}

interface KeyedTable {
  readonly name: string;
  readonly columns: readonly string[];
  readonly key: readonly string[];
}

async function keyedTables(source: pg.ClientBase): Promise<KeyedTable[]> {
  const { rows } = await source.query<KeyedTable>(`
    SELECT c.relname::text AS name,
           (SELECT json_agg(attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns,
           (SELECT json_agg(a.attname ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
              JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum) AS key
      FROM pg_class AS c JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisprimary
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'`);
  return rows;
}

/** Of a row or a hash: what is not null, by name. */
function fieldsText(fields: unknown): string {
  const there = Object.entries(fields ?? {}).filter(([, value]) => value !== null);
  return JSON.stringify(there.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
