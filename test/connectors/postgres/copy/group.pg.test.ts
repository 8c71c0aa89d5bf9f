import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CopiedChunk, CopyPlan } from '../../../../contracts/connector.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { readImage } from '../../../../contracts/row-image.ts';
import type { TableSchema } from '../../../../contracts/schema.ts';
import type { CopierDeps } from '../../../../connectors/postgres/copy/copier-deps.ts';
import { PostgresCopier } from '../../../../connectors/postgres/copy/copier.ts';
import { readIdentity } from '../../../../connectors/postgres/catalog/server-identity.ts';
import { Endpoint } from '../../../../connectors/postgres/session.ts';
import { SourceCatalog } from '../../../../connectors/postgres/catalog/source-catalog.ts';
import { startPostgres, type PostgresServer } from '../../../fixtures/embedded-postgres.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { testSource } from '../../../fixtures/test-hub.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres({});
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const never = (): AbortSignal => new AbortController().signal;

/** A copier of small tables of a schema, with what it opened and asked. */
class Group implements AsyncDisposable {
  readonly copier: PostgresCopier;
  readonly deps: CopierDeps;
  sessions = 0;
  /** How many tables each reading of the catalog was for. */
  readonly readings: number[] = [];
  readonly #schema: string;

  private constructor(schema: string) {
    const config = testSource(server.url());
    const runtime = createTestRuntime();
    const endpoint = new Endpoint(config, runtime);
    const catalog = new SourceCatalog(config, 'none');
    this.#schema = schema;
    this.deps = {
      config,
      clock: runtime.clock,
      logger: runtime.logger,
      slot: 'none',
      open: (signal) => {
        this.sessions++;
        return endpoint.open(signal);
      },
      wire: (host) => endpoint.wire(host),
      identity: readIdentity,
      hash: () => {
        throw new Error('nothing is hashed here');
      },
      describe: async (session, ids) => {
        this.readings.push(ids.length);
        const reading = await catalog.read(session, ids.map(Number));
        return reading.tables.map((table) => catalog.describe(table, reading, true));
      },
    };
    this.copier = new PostgresCopier(this.deps);
  }

  /** Tables t1, t2, ... of as many rows as their number, planned. */
  static async of(schema: string, tables: number): Promise<{ group: Group; plans: CopyPlan[] }> {
    await server.query(`CREATE SCHEMA ${schema}`);
    for (let index = 1; index <= tables; index++) {
      await server.query(`CREATE TABLE ${schema}.t${index} (id int PRIMARY KEY)`);
      await server.query(`INSERT INTO ${schema}.t${index} SELECT generate_series(1, ${index})`);
    }
    const group = new Group(schema);
    const schemas = await group.schemas();
    const plans = await Promise.all(schemas.map((table) => group.copier.plan(table, null, never())));
    return { group, plans };
  }

  async schemas(): Promise<TableSchema[]> {
    const rows = await server.query<{ oid: string }>('SELECT oid::text AS oid FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = $2 ORDER BY oid', [this.#schema, 'r']);
    await using session = await new Endpoint(this.deps.config, createTestRuntime()).open(never());
    const described = await this.deps.describe(session, rows.map(({ oid }) => oid));
    this.readings.length = 0;
    return described.map(({ schema }) => schema).toSorted((a, b) => Number(a.sourceTableId) - Number(b.sourceTableId));
  }

  /** What each table's chunk holds, or the code of why there is none. All are asked for in one breath. */
  copied(plans: readonly CopyPlan[], signal = never()): Promise<(number[] | string)[]> {
    return Promise.all(
      plans.map(async (plan) => {
        try {
          await using chunk = await this.copier.chunk(plan, plan.ranges[0] ?? '', signal);
          return await idsOf(chunk);
        } catch (error) {
          return error instanceof TidemarkError ? error.code : String(error);
        }
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.copier[Symbol.asyncDispose]();
  }
}

async function idsOf(chunk: CopiedChunk): Promise<number[]> {
  const ids: number[] = [];
  const view = new RecordView();
  for await (const batch of chunk.batches()) {
    for (view.reset(batch.records); view.next(); ) ids.push(Number(readImage(view.after())[0]));
  }
  return ids.toSorted((a, b) => a - b);
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

describe('small tables', () => {
  it('are planned and copied in one transaction, over one session', async () => {
    const { group, plans } = await Group.of('many', 20);
    await using _group = group;
    expect(await group.copied(plans)).toEqual(plans.map((_, index) => upTo(index + 1)));
    expect({ sessions: group.sessions, readings: group.readings }).toEqual({ sessions: 1, readings: [20, 20] });
  });

  it('are seen by one snapshot: a change that stands in two of them is in both or in neither', async () => {
    const { group, plans } = await Group.of('pair', 2);
    await using _group = group;
    let stop = false;
    const writing = (async () => {
      for (let id = 100; !stop; id++) await server.query(`WITH a AS (INSERT INTO pair.t1 VALUES (${id})) INSERT INTO pair.t2 VALUES (${id})`);
    })();
    for (let round = 0; round < 10; round++) {
      const [one, two] = await group.copied(plans);
      expect((one as number[]).filter((id) => id >= 100)).toEqual((two as number[]).filter((id) => id >= 100));
    }
    stop = true;
    await writing;
  });

  it('do not wait for one that is locked: the others are copied, and it says so', async () => {
    const { group, plans } = await Group.of('barred', 5);
    await using _group = group;
    await using holder = await server.connect();
    await holder.query('BEGIN; LOCK TABLE barred.t3 IN ACCESS EXCLUSIVE MODE');
    expect(await group.copied(plans)).toEqual([upTo(1), upTo(2), 'POSTGRES_COPY_LOCKED', upTo(4), upTo(5)]);
    await holder.query('ROLLBACK');
    expect(await group.copied(plans)).toEqual(upTo(5).map(upTo));
  });

  it('are copied without one that was dropped, and one that was truncated, since they were planned', async () => {
    const { group, plans } = await Group.of('lost', 4);
    await using _group = group;
    await server.query('DROP TABLE lost.t2');
    await server.query('TRUNCATE lost.t3');
    expect(await group.copied(plans)).toEqual([upTo(1), 'COPY_VOID', 'COPY_VOID', upTo(4)]);
    const [, , truncated] = plans;
    if (truncated === undefined) throw new Error('no plan');
    const again = await group.copier.plan(truncated.table, null, never());
    expect(await group.copied([again])).toEqual([[]]);
  });

  it('are copied under their new names, shapes and places when these changed since they were planned', async () => {
    const { group, plans } = await Group.of('moved', 4);
    await using _group = group;
    await server.query('ALTER TABLE moved.t1 RENAME TO other');
    await server.query('ALTER TABLE moved.t2 RENAME TO t1');
    await server.query('ALTER TABLE moved.t3 ADD COLUMN more text');
    const chunks = await Promise.all(plans.map((plan) => group.copier.chunk(plan, plan.ranges[0] ?? '', never())));
    expect(await Promise.all(chunks.map(idsOf))).toEqual(upTo(4).map(upTo));
    expect(chunks.map(({ schema }) => [schema.name, schema.columns.length])).toEqual([['other', 1], ['t1', 1], ['t3', 2], ['t4', 1]]);
    for (const chunk of chunks) await chunk[Symbol.asyncDispose]();
  });

  it('are copied whatever one of them has become: large, or without identity', async () => {
    const { group, plans } = await Group.of('grown', 4);
    await using _group = group;
    await server.query('INSERT INTO grown.t2 SELECT generate_series(3, 60000)');
    await server.query('ALTER TABLE grown.t3 DROP CONSTRAINT t3_pkey');
    const [first, grown, bare, last] = await group.copied(plans);
    expect([first, (grown as number[]).length, last]).toEqual([upTo(1), 60_000, upTo(4)]);
    expect(bare).toBe('POSTGRES_IDENTITY');
  });

  it('end with their session when all are given up, and the next are copied by another', async () => {
    const { group, plans } = await Group.of('cut', 3);
    await using _group = group;
    const stop = new AbortController();
    const copied = group.copied(plans, stop.signal);
    stop.abort();
    expect(await copied).toEqual(['ABORTED', 'ABORTED', 'ABORTED']);
    expect(await group.copied(plans)).toEqual(upTo(3).map(upTo));
  });
});
