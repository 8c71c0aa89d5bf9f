import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Catalog, TableState } from '../../contracts/catalog.ts';
import { tableName } from '../../contracts/schema.ts';
import { checkLog } from '../../hub/log/embedded/check/check-log.ts';
import type { LogFinding } from '../../hub/log/embedded/check/finding.ts';
import { EmbeddedLogEngine } from '../../hub/log/embedded/engine.ts';
import { stoppedLog } from '../../hub/log/embedded/held-log.ts';
import { nodeFiles } from '../../hub/runtime/node-files.ts';
import { createTestRuntime } from '../fixtures/runtime.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';
import { compareViews } from './compare-views.ts';
import type { CrashWorld } from './crash-world.ts';
import { LogAudit } from './log-audit.ts';
import type { FoundTable, ReplicaServer, View } from './source-world.ts';

const CATCH_UP_LIMIT_MS = 90_000;
const ASK_AGAIN_MS = 50;
const MOST_SHOWN = 5;

/** Looks at a world from outside. Each finding is a sentence; none is as it should be. */
export class CrashAudit {
  readonly #world: CrashWorld;
  /** Of each replica, since each stands elsewhere in the log. */
  readonly #logs: ReadonlyMap<ReplicaServer, LogAudit>;

  constructor(world: CrashWorld) {
    this.#world = world;
    this.#logs = new Map(world.replicas.map((replica) => [replica, new LogAudit(world.dataFolder, 'shop', world.source.positions)]));
  }

  /**
   * With the hub dead, at any moment, every server up: the source has thrown nothing away that the log does not have; each
   * replica stands at an offset that the log has, and is exactly the fold of the log up to there.
   */
  async atDeath(): Promise<string[]> {
    const findings: string[] = [];
    for (const [replica, log] of this.#logs) {
      const { highWatermark, position } = await log.end();
      const lost = await this.#world.source.lostBehind(position);
      if (lost !== null) return [lost];
      findings.push(...(await replicaFindings(replica, log, highWatermark)));
    }
    return findings;
  }

  /** With nobody writing: everything arrives by itself, and is equal. */
  async inTheEnd(): Promise<string[]> {
    await this.#caughtUp();
    await using source = await this.#world.source.view();
    const tables = await source.tables();
    const findings = tables.length === 0 ? ['there is nothing to compare'] : [];
    for (const replica of this.#world.replicas) {
      await using view = await replica.view();
      const hasSameTypes = replica.dialect === this.#world.source.dialect;
      findings.push(...(await compareViews(source, view, hasSameTypes)).map((difference) => `${replica.name}, ${difference}`), ...(await view.torn()));
    }
    findings.push(...(await this.#compareCache(source, tables)));
    return findings;
  }

  /** Offset up to which the log was read: where no more is folded, all of it is audited. */
  get readUpTo(): number {
    return Math.min(...[...this.#logs.values()].map(({ offset }) => offset));
  }

  /** With the hub dead and nobody writing: the log is whole, and its fold is the source. */
  async ofTheLog(): Promise<string[]> {
    const [log] = this.#logs.values();
    if (log === undefined) return ['there is no replica'];
    await log.advance();
    await using source = await this.#world.source.view();
    const { tables, differences } = await log.tables.compareWith(source, true);
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
    const end = await this.#world.source.end();
    for (const sink of this.#world.sinks) await this.#world.hub.api.wait(sink, end, CATCH_UP_LIMIT_MS, AbortSignal.timeout(CATCH_UP_LIMIT_MS));
  }

  /** By the identity that the source has, where it has one: a table that was made anew under its name is another one. */
  async #everyTableConsistent(): Promise<void> {
    await using view = await this.#world.source.view();
    const wanted = await view.tables();
    const limit = performance.now() + CATCH_UP_LIMIT_MS;
    for (;;) {
      await using engine = await EmbeddedLogEngine.openReadOnly(this.#world.dataFolder, createTestRuntime());
      const catalog = (await engine.open('shop', { create: false })).catalog();
      const states = wanted.map((table) => ({ table: table.name, ...stateOf(catalog, table) }));
      if (states.every(({ state }) => state === 'consistent')) return;
      if (performance.now() > limit) throw new Error(`not every table has been copied: ${JSON.stringify(states)}\n${JSON.stringify(await this.#world.hub.status())}`);
      await delay(ASK_AGAIN_MS);
    }
  }

  /** The cache has exactly the rows of the source, by the default key template and one field per column. */
  async #compareCache(source: View, tables: readonly FoundTable[]): Promise<string[]> {
    await using redis = this.#world.cache.client();
    const findings: string[] = [];
    const left = new Set(await redis.keys(`${this.#world.source.namespace}.*`));
    for (const table of tables) {
      if (table.key.length === 0) continue;
      const names = table.columns.map(({ name }) => name);
      const rows = await source.rows(table, names);
      const key = table.key.map((column) => names.indexOf(column));
      const keys = rows.map((row) => `${tableName(table)}:${key.map((index) => row[index]).join(':')}`);
      const pipeline = redis.pipeline();
      for (const one of keys) pipeline.hgetall(one);
      const answers = (await pipeline.exec()) ?? [];
      rows.forEach((row, index) => {
        left.delete(keys[index] ?? '');
        const there = fieldsText(answers[index]?.[1]);
        const wanted = fieldsText(Object.fromEntries(names.map((name, at) => [name, row[at]])));
        if (there !== wanted && findings.length < MOST_SHOWN) findings.push(`cache, ${keys[index]}: ${there.slice(0, 300)} instead of ${wanted.slice(0, 300)}`);
      });
    }
    if (left.size > 0) findings.push(`cache: ${left.size} keys without a row, such as ${[...left].slice(0, 3).join(', ')}`);
    return findings;
  }
}

async function replicaFindings(replica: ReplicaServer, log: LogAudit, highWatermark: number): Promise<string[]> {
  const { name } = replica;
  await using view = await replica.view();
  const checkpoint = await view.checkpoint();
  if (checkpoint === null) return [];
  const { offset, isReshaping, shapes } = checkpoint;
  if (offset > highWatermark) return [`${name} is at offset ${offset}, the log ends at ${highWatermark}`];
  if (offset < log.offset) return [`${name} went back to offset ${offset}; it was at ${log.offset} before`];
  await log.advance(offset);
  const { catalog } = log.tables;
  const isAhead = [...shapes].some(([tableId, version]) => version > (catalog.table(tableId)?.versions.at(-1)?.schema.version ?? 0));
  if (isReshaping || isAhead) return [];
  const { differences } = await log.tables.compareWith(view, false);
  return differences.map((difference) => `${name} at offset ${offset} is not the fold of the log: ${difference}`);
}

function stateOf(catalog: Catalog, { namespace, name, sourceTableId }: FoundTable): TableState | { readonly state: 'unknown' } {
  if (sourceTableId !== null) return catalog.bySourceId(sourceTableId)?.state ?? { state: 'unknown' };
  const named = catalog.tables().filter(({ versions, state }) => {
    const schema = versions.at(-1)?.schema;
    return state.state !== 'removed' && schema?.namespace === namespace && schema.name === name;
  });
  return named.at(-1)?.state ?? { state: 'unknown' };
}

/** Of a row or a hash: what is not null, by name. */
function fieldsText(fields: unknown): string {
  const there = Object.entries(fields ?? {}).filter(([, value]) => value !== null);
  return JSON.stringify(there.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
