import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Intake, type IntakeHost } from '../../../../connectors/postgres/stream/intake.ts';
import { PositionWriter, parseLsn } from '../../../../connectors/postgres/position.ts';
import { ensurePublication } from '../../../../connectors/postgres/catalog/publication.ts';
import type { Relation } from '../../../../connectors/postgres/stream/relation.ts';
import { ReplicationConnection } from '../../../../connectors/postgres/stream/replication.ts';
import { Endpoint } from '../../../../connectors/postgres/session.ts';
import { createSlot } from '../../../../connectors/postgres/slot.ts';
import { SourceCatalog } from '../../../../connectors/postgres/catalog/source-catalog.ts';
import type { Route } from '../../../../connectors/postgres/stream/route.ts';
import { RowPlan, NULL_CELL } from '../../../../connectors/postgres/stream/row-plan.ts';
import { RowWidth } from '../../../../connectors/postgres/stream/row-width.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { NEVER } from '../../../../contracts/kit/connector-kit-common.ts';
import { recordsOf } from '../../../../contracts/kit/reference-log.ts';
import { startPostgres, type PostgresServer } from '../../../fixtures/embedded-postgres.ts';
import { createTestRuntime, seededRandom } from '../../../fixtures/runtime.ts';
import { TestSource } from '../source-fixture.ts';

const WORK = `
  CREATE TYPE mood AS ENUM ('a', 'b');
  CREATE TABLE t (id int PRIMARY KEY, v text, b bytea, m mood, n numeric, big text);
  CREATE TABLE f (id int PRIMARY KEY, v text, big text); ALTER TABLE f REPLICA IDENTITY FULL;
  CREATE TABLE bag (x int, y text); ALTER TABLE bag REPLICA IDENTITY FULL;`;
const CHANGES = `
  INSERT INTO t SELECT n, repeat('v', n % 50), decode(md5(n::text), 'hex'), 'a', n / 7.0, NULL FROM generate_series(1, 40) AS n;
  UPDATE t SET big = (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 200) AS n) WHERE id < 4;
  UPDATE t SET v = 'w' WHERE id < 10; UPDATE t SET id = id + 1000 WHERE id < 6; DELETE FROM t WHERE id BETWEEN 10 AND 20;
  INSERT INTO f SELECT n, 'f', repeat('z', n * 100) FROM generate_series(1, 30) AS n; UPDATE f SET v = 'g'; UPDATE f SET id = id + 100 WHERE id < 9; DELETE FROM f WHERE id > 120;
  INSERT INTO bag VALUES (1, 'x'), (NULL, NULL); UPDATE bag SET y = 'z'; DELETE FROM bag;
  SELECT pg_logical_emit_message(true, 'audit', 'text'); TRUNCATE t, f;`;

let server: PostgresServer;
let recorded: Buffer;

beforeAll(async () => {
  server = await startPostgres();
  recorded = await record();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** What a real server sends for the work above. */
async function record(): Promise<Buffer> {
  await using source = await TestSource.make(server);
  await source.query(WORK);
  const endpoint = new Endpoint(source.config, source.runtime);
  await using session = await endpoint.open(NEVER);
  const catalog = new SourceCatalog(source.config, source.slot);
  const { tables } = await catalog.read(session, (await catalog.selected(session)).map((table) => table.oid));
  await ensurePublication(session, source.slot, tables);
  await createSlot(session, source.slot, false);
  await source.query(CHANGES);
  await source.query(`SELECT pg_logical_emit_message(false, 'outside', 'x')`);
  await source.query(`ALTER TABLE f ADD w int; INSERT INTO f VALUES (1, 'v', NULL, 5)`);
  const end = parseLsn(await source.head());
  const chunks: Buffer[] = [];
  const connection = new ReplicationConnection(await endpoint.wire(session.host));
  const done = Promise.withResolvers<void>();
  const host = stub();
  host.boundary = (at) => at >= end && done.resolve();
  host.keepalive = (at) => at >= end && done.resolve();
  host.forward = (message) => connection.forward(message);
  const intake = new Intake(host, { clock: source.runtime.clock, positions, skipBelow: 0, maxRowBytes: 1 << 20 });
  void drain(intake);
  await connection.start({
    slot: source.slot, publication: source.slot, start: 0, version: session.version, identified: () => Promise.resolve(),
    onBytes: (chunk) => {
      chunks.push(Buffer.from(chunk));
      intake.take(chunk);
    },
    onEnd: (error) => done.reject(error),
  });
  await done.promise;
  intake.end();
  await connection.close();
  return Buffer.concat(chunks);
}

const positions = new PositionWriter({ systemId: '1', timeline: 1 });

function stub(): { -readonly [K in keyof IntakeHost]: (...args: Parameters<IntakeHost[K]>) => ReturnType<IntakeHost[K]> } & IntakeHost {
  return {
    relation: routeOf,
    boundary: () => undefined,
    keepalive: () => undefined,
    tooLarge: () => null,
    typeName: () => undefined,
    widen: (xid) => xid,
    isOwnMessage: () => false,
    forward: () => undefined,
    pause: () => undefined,
    resume: () => undefined,
    gathers: () => true,
  };
}

/** Keys by the flags; every other table through the slow path. */
function routeOf(relation: Relation): Route {
  const columns = relation.columns.map((column, source) => ({ source, action: column.typeOid === 17 ? ('bytes' as const) : ('keep' as const), fill: NULL_CELL }));
  const key = relation.columns.flatMap((column, index) => (column.isKey && relation.identity !== 'f' ? [index] : []));
  return {
    relation, captured: true, tableId: relation.oid, version: 1, key, plan: new RowPlan(columns, columns.length, null),
    width: new RowWidth(relation.columns.map((column) => column.typeOid), new Map()), enums: null, before: [],
  };
}

async function drain(intake: Intake): Promise<{ records: number; bytes: number; error: unknown }> {
  let records = 0;
  let bytes = 0;
  try {
    for (let batch = await intake.next(); batch !== null; batch = await intake.next()) {
      // Every record that was built is well formed.
      records += recordsOf(batch).length;
      bytes += batch.records.buffer.byteLength;
    }
    return { records, bytes, error: null };
  } catch (error) {
    return { records, bytes, error };
  }
}

async function decode(bytes: Buffer): Promise<{ records: number; bytes: number; error: unknown }> {
  const intake = new Intake(stub(), { clock: createTestRuntime().clock, positions, skipBelow: 0, maxRowBytes: 1 << 20 });
  const result = drain(intake);
  for (let at = 0; at < bytes.length; at += 8192) intake.take(Buffer.from(bytes.subarray(at, at + 8192)));
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  intake.end();
  return result;
}

/** One of the ways in which bytes go wrong. */
function mutated(original: Buffer, unit: () => number): Buffer {
  const bytes = Buffer.from(original);
  const times = 1 + Math.floor(unit() * 4);
  let result = bytes;
  for (let time = 0; time < times; time++) {
    const at = Math.floor(unit() * result.length);
    const kind = Math.floor(unit() * 6);
    if (kind === 0) result[at] = Math.floor(unit() * 256);
    else if (kind === 1) result[at] = (result[at] ?? 0) ^ (1 << Math.floor(unit() * 8));
    else if (kind === 2 && at + 4 <= result.length) result.writeUInt32BE(Math.floor(unit() * 2 ** 32), at);
    else if (kind === 3) result = Buffer.concat([result.subarray(0, at), result.subarray(at + 1 + Math.floor(unit() * 40))]);
    else if (kind === 4) result = Buffer.concat([result.subarray(0, at), result.subarray(Math.floor(unit() * at), at), result.subarray(at)]);
    else result = Buffer.from(result.subarray(0, at));
  }
  return result;
}

describe('what a real server sends', () => {
  it('is decoded', async () => {
    const result = await decode(recorded);
    expect(result.error).toBeNull();
    expect(result.records).toBeGreaterThan(150);
  });

  it('changed in any way gives records or a typed error, quickly and in bounded memory', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = seededRandom(seed);
    const until = performance.now() + 6_000;
    const codes = new Map<string, number>();
    let runs = 0;
    for (; performance.now() < until; runs++) {
      const bytes = mutated(recorded, () => random.unit());
      const started = performance.now();
      const result = await decode(bytes);
      const said = `seed ${seed}, run ${runs}`;
      expect(performance.now() - started, said).toBeLessThan(2_000);
      expect(result.bytes, said).toBeLessThan(64 << 20);
      if (result.error === null) continue;
      expect(result.error, said).toBeInstanceOf(TidemarkError);
      const code = result.error instanceof TidemarkError ? result.error.code : '';
      expect(['POSTGRES_PROTOCOL', 'RECORD_CORRUPT'], said).toContain(code);
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    expect(runs).toBeGreaterThan(50);
    expect(codes.get('POSTGRES_PROTOCOL') ?? 0).toBeGreaterThan(10);
  });
});
