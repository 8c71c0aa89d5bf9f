import { afterAll, describe, expect, it } from 'vitest';
import type { CopiedChunk, CopyPlan } from '../../../../contracts/connector.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { readImage } from '../../../../contracts/row-image.ts';
import type { TableSchema } from '../../../../contracts/schema.ts';
import type { CopierDeps } from '../../../../connectors/postgres/copy/copier-deps.ts';
import { PostgresCopier } from '../../../../connectors/postgres/copy/copier.ts';
import { ColumnHash } from '../../../../contracts/column-hash.ts';
import { readIdentity } from '../../../../connectors/postgres/catalog/server-identity.ts';
import { Endpoint } from '../../../../connectors/postgres/session.ts';
import { SourceCatalog } from '../../../../connectors/postgres/catalog/source-catalog.ts';
import { startPostgres, type PostgresMajor, type PostgresServer } from '../../../fixtures/embedded-postgres.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { testSource } from '../../../fixtures/test-hub.ts';

const servers = new Map<PostgresMajor, PostgresServer>();

afterAll(async () => {
  for (const server of servers.values()) await server[Symbol.asyncDispose]();
});

async function serverOf(version: PostgresMajor): Promise<PostgresServer> {
  const running = servers.get(version) ?? (await startPostgres({ version }));
  servers.set(version, running);
  return running;
}

function depsOf(server: PostgresServer): CopierDeps {
  const config = testSource(server.url());
  const runtime = createTestRuntime();
  const endpoint = new Endpoint(config, runtime);
  const catalog = new SourceCatalog(config, 'none');
  const hash = new ColumnHash('key');
  return {
    config,
    clock: runtime.clock,
    logger: runtime.logger,
    slot: 'none',
    open: (signal) => endpoint.open(signal),
    wire: (host) => endpoint.wire(host),
    identity: readIdentity,
    hash: (value) => hash.bytes(value),
    async describe(session, ids) {
      const reading = await catalog.read(session, ids.map(Number));
      return reading.tables.map((table) => catalog.describe(table, reading, true));
    },
  };
}

async function schemaOf(deps: CopierDeps, server: PostgresServer, table: string): Promise<TableSchema> {
  const [row] = await server.query<{ oid: string }>(`SELECT $1::regclass::oid::text AS oid`, [table]);
  await using session = await deps.open(new AbortController().signal);
  const [described] = await deps.describe(session, [row?.oid ?? '']);
  if (described === undefined) throw new Error(`no table ${table}`);
  return described.schema;
}

async function firstColumn(chunk: CopiedChunk): Promise<{ ids: number[]; bytes: number }> {
  const ids: number[] = [];
  let bytes = 0;
  const view = new RecordView();
  for await (const batch of chunk.batches()) {
    bytes += batch.records.length;
    for (view.reset(batch.records); view.next(); ) ids.push(Number(readImage(view.after())[0]));
  }
  return { ids, bytes };
}

/** Every range of a plan, with what each leaves. */
async function copyAll(copier: PostgresCopier, plan: CopyPlan): Promise<{ ids: number[]; largest: number; ranges: string[] }> {
  const left = [...plan.ranges];
  const ids: number[] = [];
  const ranges: string[] = [];
  let largest = 0;
  for (let range = left.shift(); range !== undefined; range = left.shift()) {
    await using chunk = await copier.chunk(plan, range, new AbortController().signal);
    if (chunk.rest !== null && chunk.rest !== undefined) left.unshift(chunk.rest);
    const part = await firstColumn(chunk);
    ids.push(...part.ids);
    largest = Math.max(largest, part.bytes);
    ranges.push(chunk.range);
  }
  return { ids: ids.toSorted((a, b) => a - b), largest, ranges };
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

describe('a chunk', () => {
  it('stays within its spool although rows are far larger than their place in the heap', async () => {
    const server = await serverOf(18);
    await server.query(`CREATE TABLE large (id int PRIMARY KEY, body text)`);
    await server.query(`INSERT INTO large SELECT g, repeat('x', 100000) FROM generate_series(1, 200) AS g`);
    const deps = depsOf(server);
    const copier = new PostgresCopier(deps, { spoolBytes: 2 << 20, rangeBytes: 1 << 20 });
    const plan = await copier.plan(await schemaOf(deps, server, 'large'), null, new AbortController().signal);
    const { ids, largest, ranges } = await copyAll(copier, plan);
    expect(ids).toEqual(upTo(200));
    expect(largest).toBeLessThan(4 << 20);
    expect(ranges.length).toBeGreaterThan(8);
    // What was done is all there is to do.
    const resumed = await copier.plan(plan.table, { copyState: plan.copyState, done: ranges }, new AbortController().signal);
    expect(resumed.ranges).toEqual([]);
  });

  it('holds one row that alone is larger than the spool', async () => {
    const server = await serverOf(18);
    await server.query(`CREATE TABLE giants (id int PRIMARY KEY, body text)`);
    await server.query(`INSERT INTO giants SELECT g, repeat('y', 3000000) FROM generate_series(1, 4) AS g`);
    const deps = depsOf(server);
    const copier = new PostgresCopier(deps, { spoolBytes: 1 << 20, rangeBytes: 1 << 20 });
    const plan = await copier.plan(await schemaOf(deps, server, 'giants'), null, new AbortController().signal);
    const { ids, largest } = await copyAll(copier, plan);
    expect(ids).toEqual(upTo(4));
    expect(largest).toBeLessThan(7 << 20);
  });

  it('is given up with its session when it is asked to stop', async () => {
    const server = await serverOf(18);
    await server.query('CREATE TABLE locked (id int PRIMARY KEY)');
    const deps = depsOf(server);
    const copier = new PostgresCopier(deps);
    const stop = new AbortController();
    const plan = await copier.plan(await schemaOf(deps, server, 'locked'), null, stop.signal);
    await using holder = await server.connect();
    await holder.query('BEGIN; LOCK TABLE locked');
    const chunk = copier.chunk(plan, plan.ranges[0] ?? '', stop.signal);
    stop.abort();
    await expect(chunk).rejects.toMatchObject({ code: 'ABORTED' });
    await holder.query('ROLLBACK');
  });

  it('does not wait for ever for a lock', async () => {
    const server = await serverOf(18);
    await server.query('CREATE TABLE held (id int PRIMARY KEY)');
    const deps = depsOf(server);
    const copier = new PostgresCopier(deps);
    const { signal } = new AbortController();
    const plan = await copier.plan(await schemaOf(deps, server, 'held'), null, signal);
    await using holder = await server.connect();
    await holder.query('BEGIN; LOCK TABLE held');
    await expect(copier.chunk(plan, plan.ranges[0] ?? '', signal)).rejects.toMatchObject({ code: 'POSTGRES_COPY_LOCKED', retry: 'auto' });
    await holder.query('ROLLBACK');
  });

  it('of a server without scans by place goes by key, in pieces that can be resumed', { timeout: 180_000 }, async () => {
    const server = await serverOf(13);
    await server.query(`CREATE TABLE keyed (id int, name varchar(20), body text, PRIMARY KEY (name, id))`);
    await server.query(`INSERT INTO keyed SELECT g, 'name ''' || g % 7, repeat('x', 1000) FROM generate_series(1, 3000) AS g`);
    await server.query('ANALYZE keyed');
    const deps = depsOf(server);
    const copier = new PostgresCopier(deps, { spoolBytes: 256 << 10, rangeBytes: 200 << 10 });
    const { signal } = new AbortController();
    const plan = await copier.plan(await schemaOf(deps, server, 'keyed'), null, signal);
    const { ids, ranges } = await copyAll(copier, plan);
    expect(ids).toEqual(upTo(3000));
    expect(ranges.length).toBeGreaterThan(3);
    const half = ranges.slice(0, Math.floor(ranges.length / 2));
    const resumed = await copier.plan(plan.table, { copyState: plan.copyState, done: half }, signal);
    expect((await copyAll(copier, resumed)).ids.length).toBeLessThan(3000);
    expect((await copier.plan(plan.table, { copyState: plan.copyState, done: ranges }, signal)).ranges).toEqual([]);
  });

  it.each([
    ['PRIMARY KEY (word)', `repeat(chr(97 + g % 26 - 32 * (g % 2)), 1 + g / 26)`],
    ['PRIMARY KEY (word, id)', `chr(97 + g % 26 - 32 * (g % 2))`],
  ])('by key follows the order of the key\'s own type: %s', async (key, word) => {
    const server = await serverOf(13);
    await server.query(`CREATE EXTENSION IF NOT EXISTS citext; DROP TABLE IF EXISTS worded;
      CREATE TABLE worded (id int, word citext, body text, ${key})`);
    await server.query(`INSERT INTO worded SELECT g, ${word}, repeat('x', 1000) FROM generate_series(1, 1000) AS g`);
    await server.query('ANALYZE worded');
    const deps = depsOf(server);
    const copier = new PostgresCopier(deps, { spoolBytes: 64 << 10, rangeBytes: 40 << 10 });
    const plan = await copier.plan(await schemaOf(deps, server, 'worded'), null, new AbortController().signal);
    const { ids, ranges } = await copyAll(copier, plan);
    expect(ids).toEqual(upTo(1000));
    expect(ranges.length).toBeGreaterThan(3);
  });
});
