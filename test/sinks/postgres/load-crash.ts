import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { ModelChanges } from '../../../contracts/kit/sink-kit-changes.ts';
import { KIT_COLUMNS } from '../../../contracts/kit/sink-kit-rows.ts';
import { type ModelCell, SinkModel } from '../../../contracts/kit/sink-model.ts';
import type { Sink, SinkBatch } from '../../../contracts/sink.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { type ReplicaPlace, replicaPlace } from './replica-place.ts';
import { columnsOf } from './replica-stand.ts';
import { deliver } from './shadow-stand.ts';
import { type Fault, StatementFaults } from './statement-faults.ts';

/** Rows of one batch: enough that they go in by COPY. */
const ROWS = 40;
/** The load ends with the batch of this place, and history goes on. */
const LOAD_ENDS = 5;

const signal = new AbortController().signal;
let server: PostgresServer;

/** @param steps for each fault: it happens at the first statement, and at every so manieth after it */
export function loadCrashCases(steps: readonly (readonly [Fault, number])[]): void {
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());
  afterEach(() => vi.restoreAllMocks());
  describe.each(steps)('the hub is %s, at a statement of a load', (fault, step) => {
    test.each<Of>(['the sink', 'the shadow'])('of %s: whatever comes next ends with the same rows and keys', async (of) => {
      const load = loadOf();
      let n = 1;
      for (; await oneDeath(load, of, fault, n); n += step);
      expect(n).toBeGreaterThan(50);
    });
  });
}

type Of = 'the sink' | 'the shadow';

interface Load {
  readonly model: SinkModel;
  /** The first ones with the cursor that their place is in. */
  readonly batches: readonly SinkBatch[];
  /** How many rows of the first table there are after each of them. */
  readonly things: readonly number[];
}

/** A table over several batches, one with a key that is not primary, one without a key, one that begins and ends in a batch; then changes. */
function loadOf(): Load {
  const model = new SinkModel();
  const batches: SinkBatch[] = [];
  const rows: number[] = [];
  const changes = new ModelChanges(model, model.createTable('public', 'things', KIT_COLUMNS, ['id']));
  const take = (): void => {
    const cursor = Buffer.alloc(32, batches.length + 1);
    batches.push(batches.length < LOAD_ENDS ? { ...model.batch(), after: 0, to: 0, cursor } : model.batch());
    rows.push(changes.table.rows.size);
  };
  const things = (from: number): void => {
    for (let id = from; id < from + ROWS; id++) changes.insert(id, `name ${id}`);
  };
  things(0);
  take();
  things(ROWS);
  take();
  things(2 * ROWS);
  model.tableState(changes.table, 'loaded');
  const coded = model.createTable('public', 'coded', columnsOf({ code: 'text', n: 'integer' }), ['code'], 'identity');
  for (let n = 0; n < ROWS; n++) model.insert(coded, [`code ${n}`, String(n)]);
  take();
  model.tableState(coded, 'loaded');
  const small = model.createTable('public', 'small', columnsOf({ id: 'integer', name: 'text' }), ['id']);
  model.insert(small, ['1', 'one']);
  model.tableState(small, 'loaded');
  const bag = model.createTable('public', 'bag', columnsOf({ a: 'integer', b: 'text' }), []);
  for (let n = 0; n < ROWS; n++) model.insert(bag, [String(n % 4), 'row']);
  take();
  for (let n = 0; n < ROWS; n++) model.insert(bag, [String(n % 4), 'row']);
  model.tableState(bag, 'loaded');
  take();
  const end = model.batch();
  batches.push({ ...end, after: 0 });
  rows.push(changes.table.rows.size);
  changes.update(1, 'changed');
  changes.remove(2);
  model.update(coded, ['code 1', '1'], ['code 1', '100']);
  model.delete(bag, ['3', 'row']);
  model.insert(small, ['2', 'two']);
  take();
  return { model, batches, things: rows };
}

/** Answers false when the load has fewer statements. */
async function oneDeath(load: Load, of: Of, fault: Fault, n: number): Promise<boolean> {
  await using place = await replicaPlace(server);
  const [first, next] = [sinkOf(place, of), sinkOf(place, of)];
  const faults = new StatementFaults(n, fault, () => server.restart('immediate'));
  const outcome = await goOn(load, first).then(() => null, (error: unknown) => error);
  vi.restoreAllMocks();
  await first[Symbol.asyncDispose]();
  await faults.restarted;
  await expect.poll(() => server.query("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'tidemark%'"), { interval: 5, timeout: 20_000 }).toEqual([]);
  if (!faults.happened) expect(outcome).toBeNull();
  await expectTogether(load, place, of);
  // Each kind of next opening: it goes on, it begins anew in another base, and the base is gone.
  await (n % 3 === 0 || !faults.happened ? goOn(load, next) : begunAnew(load, next, n % 3 === 1));
  await next[Symbol.asyncDispose]();
  await expectAll(load, place, of);
  return faults.happened;
}

function sinkOf(place: ReplicaPlace, of: Of): Sink {
  const sink = place.sink({ options: { lock_timeout: '5s' } });
  return of === 'the sink' ? sink : sink.shadow.open(() => true);
}

/** Opens the sink, and gives it what it has not got. */
async function goOn({ model, batches }: Load, sink: Sink): Promise<void> {
  const checkpoint = await sink.open(model.start(), signal);
  const cursor = checkpoint?.cursor ?? null;
  const done = cursor === null ? batches.findLastIndex((batch) => checkpoint !== null && batch.to > 0 && batch.to <= checkpoint.offset) : (cursor[0] ?? 0) - 1;
  for (const batch of batches.slice(done + 1)) await deliver(sink, batch, signal);
}

/** The load begins again; or the log has no base any more, and all of it is history. */
async function begunAnew({ model, batches }: Load, sink: Sink, loads: boolean): Promise<void> {
  const checkpoint = await sink.open(model.start(), signal);
  // Who has come to the end of the load is not filled again.
  const from = checkpoint?.offset ?? 0;
  const left = from > 0 ? batches.filter((batch) => batch.to > from) : batches.map((batch) => (loads || batch.cursor === null ? batch : { ...batch, cursor: null }));
  for (const batch of left) await deliver(sink, batch, signal);
}

/** Rows and cursor came together. */
async function expectTogether({ batches, things }: Load, place: ReplicaPlace, of: Of): Promise<void> {
  const [there] = await server.query<{ is: boolean }>("SELECT to_regclass('tidemark.checkpoint') IS NOT NULL AS is", [], place.database);
  if (there?.is !== true) return;
  const [checkpoint] = await server.query<{ offset: number; cursor: number | null }>(
    'SELECT "offset"::int, get_byte(load_cursor, 0) AS cursor FROM tidemark.checkpoint WHERE sink = $1', [of === 'the sink' ? 'replica' : 'replica (shadow)'], place.database);
  if (checkpoint === undefined) return;
  const done = checkpoint.cursor === null ? batches.findLastIndex((batch) => batch.to > 0 && batch.to <= checkpoint.offset) : checkpoint.cursor - 1;
  const [count] = done < 0 ? [] : await server.query<{ rows: number }>(`SELECT count(*)::int AS rows FROM ${tableOf(of, 'things', 1)}`, [], place.database);
  expect(count?.rows ?? 0).toBe(things[done] ?? 0);
}

async function expectAll({ model }: Load, place: ReplicaPlace, of: Of): Promise<void> {
  for (const table of model.tables) {
    const { name, tableId, columns, keyKind } = table.schema;
    const found = await server.query<{ row: (string | null)[] }>(
      `SELECT ARRAY[${columns.map((column) => `"${column.name}"::text`).join(', ')}] AS row FROM ${tableOf(of, name, tableId)}`, [], place.database);
    expect(sorted(found.map(({ row }) => row)), name).toEqual(sorted(table.expected().map((row) => row.map(textOf))));
    const keys = await server.query<{ kind: string; identity: string; shape: string }>(
      `SELECT x.contype::text AS kind, c.relreplident::text AS identity, m.shape ->> 'keyKind' AS shape
         FROM pg_class c JOIN tidemark.mirrored_table m ON m.table_name = c.relname
         LEFT JOIN pg_constraint x ON x.conrelid = c.oid AND x.contype IN ('p', 'u') WHERE c.oid = $1::regclass`,
      [tableOf(of, name, tableId)], place.database);
    const wanted = { none: { kind: null, identity: 'd' }, primary: { kind: 'p', identity: 'd' }, identity: { kind: 'u', identity: 'i' } }[keyKind];
    expect(keys, name).toEqual([{ ...wanted, shape: keyKind }]);
  }
}

function tableOf(of: Of, name: string, tableId: number): string {
  return of === 'the sink' ? name : `tidemark_shadow_replica.rebuilt_${tableId}`;
}

function textOf(cell: ModelCell): string | null {
  if (Buffer.isBuffer(cell)) return `\\x${cell.toString('hex')}`;
  return cell === 't' ? 'true' : cell === 'f' ? 'false' : cell;
}

function sorted(rows: readonly (readonly (string | null)[])[]): string[] {
  return rows.map((row) => JSON.stringify(row)).toSorted();
}
