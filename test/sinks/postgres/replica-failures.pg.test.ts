import { afterAll, beforeAll, expect, test } from 'vitest';
import { cutDuringWork } from '../../../contracts/kit/sink-faults.ts';
import { SinkModel } from '../../../contracts/kit/sink-model.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { PostgresSink } from '../../../sinks/postgres/sink.ts';
import { replicaPlace, sinkConfig } from './replica-place.ts';
import { columnsOf, ReplicaStand } from './replica-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres({ hba: ['host all locked 127.0.0.1/32 scram-sha-256'] });
  await server.query("CREATE ROLE plain LOGIN; CREATE ROLE locked LOGIN PASSWORD 'right'");
});

afterAll(() => server?.[Symbol.asyncDispose]());

const SEATS = columnsOf({ id: 'integer', seat: 'text' });

async function seats(stand: ReplicaStand) {
  const table = stand.model.createTable('public', 'seats', SEATS, ['id']);
  for (let id = 1; id <= 5; id++) stand.model.insert(table, [String(id), `seat ${id}`]);
  await stand.apply();
  return table;
}

/** Ends the sessions of the sink as an administrator would. */
async function endSessions(stand: ReplicaStand): Promise<void> {
  await stand.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tidemark replica%' AND datname = current_database()");
}

test('the connection breaks while a batch is applied: all of it or nothing, and the next opening says which', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = await seats(stand);
  for (let round = 0; round < 10; round++) {
    for (let id = 0; id < 2_000; id++) stand.model.insert(table, [String(1_000 + round * 2_000 + id), 'x'.repeat(round * 10)]);
    const batch = stand.model.batch();
    let cut: Promise<void> = Promise.resolve();
    const faulty = cutDuringWork(stand.sink, () => true, () => {
      cut = endSessions(stand);
    });
    const { accepted, durable } = faulty.apply(batch, stand.signal);
    const [, outcome] = await Promise.allSettled([accepted, durable]);
    await cut;
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'SINK_UNREACHABLE', retry: 'auto' });
    const offset = (await stand.reopen())?.offset;
    expect([batch.after, batch.to]).toContain(offset);
    if (offset === batch.after) await stand.send(batch);
    await stand.expectEqual();
  }
});

test('the server restarts between two batches', async () => {
  await using own = await startPostgres();
  await using stand = await ReplicaStand.open(own);
  const table = await seats(stand);
  await own.stop('immediate');
  stand.model.insert(table, ['6', 'six']);
  const batch = stand.model.batch();
  await expect(stand.send(batch)).rejects.toMatchObject({ code: 'SINK_UNREACHABLE', retry: 'auto' });
  await expect(stand.reopen()).rejects.toMatchObject({ code: 'SINK_UNREACHABLE', retry: 'auto' });
  await own.start();
  expect((await stand.reopen())?.offset).toBe(batch.after);
  await stand.send(batch);
  expect(await own.query('SELECT count(*)::int AS n FROM seats', [], stand.place.database)).toEqual([{ n: 6 }]);
});

test('two hubs that were given the same fence, by a failover that went back, are told apart by their owner', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = stand.model.createTable('public', 'things', columnsOf({ id: 'integer' }), ['id']);
  await stand.apply();
  await stand.sql("UPDATE tidemark.checkpoint SET owner = 'the other hub'");
  stand.model.insert(table, ['1']);
  await expect(stand.apply()).rejects.toMatchObject({ code: 'SINK_FENCED', retry: 'operator' });
  expect(await stand.sql('SELECT * FROM things')).toEqual([]);
});

test('an older session that holds the checkpoint is ended, and learns at its next opening that it is fenced', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = await seats(stand);
  stand.model.insert(table, ['6', 'begun, never ended']);
  const { accepted, durable } = stand.sink.apply(stand.model.batch(true), stand.signal);
  const settled = Promise.allSettled([durable]);
  await accepted;
  await expect.poll(() => stand.sql("SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'tidemark replica' AND state = 'idle in transaction'")).toContainEqual([1]);
  await using other = stand.place.sink();
  const taken = await other.open(stand.model.start(), stand.signal);
  expect(taken?.offset).toBe(6);
  expect(taken?.fence).toBe(2);
  await stand.sink.apply(stand.model.batch(), stand.signal).durable.catch(() => undefined);
  await settled;
  await expect(stand.reopen()).rejects.toMatchObject({ code: 'SINK_FENCED', retry: 'operator' });
  expect((await other.open(stand.model.start(), stand.signal))?.fence).toBe(3);
});

test('data that the replica refuses names the table; the batch after it is refused too, nothing of both stays', async () => {
  await using stand = await ReplicaStand.open(server, ["CREATE TABLE seats (id integer PRIMARY KEY, seat text CHECK (seat <> 'bad'))"]);
  const table = await seats(stand);
  stand.model.insert(table, ['6', 'bad']);
  const bad = stand.sink.apply(stand.model.batch(), stand.signal);
  stand.model.insert(table, ['7', 'good']);
  const next = stand.sink.apply(stand.model.batch(), stand.signal);
  const outcomes = await Promise.allSettled([bad.durable, next.durable, next.accepted]);
  for (const outcome of outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'SINK_DATA', retry: 'never', where: { table: 'public.seats' } } });
  expect(await stand.sql('SELECT count(*)::int FROM seats')).toEqual([[5]]);
});

test('after data that the replica refuses the sink goes back to its checkpoint on the connections that it has, many times, and on', async () => {
  await using stand = await ReplicaStand.open(server, ["CREATE TABLE seats (id integer PRIMARY KEY, seat text CHECK (seat <> 'bad'))"]);
  const table = await seats(stand);
  const { offset } = stand.model;
  await stand.sink.open(stand.model.start(), stand.signal);
  const backends = (): Promise<unknown[][]> =>
    stand.sql("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'tidemark replica%' AND application_name NOT LIKE '%probe%' AND datname = current_database() ORDER BY pid");
  const before = await backends();
  stand.model.insert(table, ['6', 'bad']);
  stand.model.insert(table, ['7', 'good']);
  const batch = stand.model.batch();
  for (let round = 0; round < 20; round++) {
    const { accepted, durable } = stand.sink.apply(batch, stand.signal);
    const [outcome] = await Promise.allSettled([durable, accepted]);
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'SINK_DATA' } });
    expect(await stand.sink.rewind(stand.model.start(), stand.signal)).toBe(true);
    expect(await stand.sql('SELECT count(*)::int FROM seats')).toEqual([[5]]);
  }
  expect(await stand.sql('SELECT "offset"::int FROM tidemark.checkpoint')).toEqual([[offset]]);
  await stand.sql('ALTER TABLE seats DROP CONSTRAINT seats_seat_check');
  await stand.send(batch);
  expect(await backends()).toEqual(before);
  await stand.expectEqual();
});

test('a batch that cannot be encoded does not disturb the one before it', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = await seats(stand);
  for (let id = 100; id < 5_000; id++) stand.model.insert(table, [String(id), 'x']);
  const first = stand.sink.apply(stand.model.batch(), stand.signal);
  const missing = new SinkModel().createTable('public', 'missing', SEATS, ['id']);
  missing.schema = { ...missing.schema, tableId: 99 };
  stand.model.insert(missing, ['1', 'x']);
  const second = stand.sink.apply(stand.model.batch(), stand.signal);
  await expect(second.durable).rejects.toMatchObject({ code: 'REPLICA_SHAPE', where: { table: 'public.missing' } });
  await first.durable;
  await stand.expectEqual();
});

test('parts of one transaction with unique values that swap, over a table made in the same transaction', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = stand.model.createTable('public', 'seats', SEATS, ['id']);
  const durable: Promise<number>[] = [];
  const part = async (last: boolean): Promise<void> => {
    const applying = stand.sink.apply(stand.model.batch(!last), stand.signal);
    durable.push(applying.durable);
    await applying.accepted;
  };
  for (let id = 1; id <= 50; id++) stand.model.insert(table, [String(id), `seat ${id}`]);
  await part(false);
  expect(await stand.sql("SELECT to_regclass('seats')")).toEqual([[null]]);
  for (let id = 51; id <= 80; id++) stand.model.insert(table, [String(id), `seat ${id}`]);
  await part(false);
  stand.model.update(table, ['1', 'seat 1'], ['1', 'seat 2']);
  stand.model.update(table, ['2', 'seat 2'], ['2', 'seat 1']);
  await part(true);
  await expect(Promise.all(durable)).resolves.toEqual(durable.map(() => stand.model.offset));
  await stand.expectEqual();
});

test('the checkpoint went back at the replica: the sink says so, and goes on from what is there', async () => {
  await using stand = await ReplicaStand.open(server);
  const table = await seats(stand);
  stand.model.update(table, ['1', 'seat 1'], ['1', 'lost']);
  const lost = await stand.apply();
  await stand.sql(`UPDATE tidemark.checkpoint SET "offset" = ${lost.after}; UPDATE seats SET seat = 'seat 1' WHERE id = 1`);
  stand.model.insert(table, ['6', 'six']);
  const next = stand.model.batch();
  await expect(stand.send(next)).rejects.toMatchObject({ code: 'SINK_CHECKPOINT_MOVED', retry: 'auto' });
  expect((await stand.reopen())?.offset).toBe(lost.after);
  await stand.send(lost);
  await stand.send(next);
  await stand.expectEqual();
});

test('addresses and credentials that do not work say whether to wait or to act', async () => {
  const opened = async (url: string): Promise<unknown> => {
    await using sink = new PostgresSink(sinkConfig(url), createTestRuntime());
    return await sink.open(new SinkModel().start(), new AbortController().signal);
  };
  await expect(opened('postgres://postgres@127.0.0.1:1/postgres')).rejects.toMatchObject({ code: 'SINK_UNREACHABLE', retry: 'auto' });
  await expect(opened(server.url('postgres', 'locked').replace('locked@', 'locked:wrong@'))).rejects.toMatchObject({ code: 'REPLICA_DENIED', retry: 'operator' });
  await expect(opened(server.url('no_such_database'))).rejects.toMatchObject({ retry: 'operator' });
  await expect(opened(server.url('postgres', 'plain'))).rejects.toMatchObject({ code: 'REPLICA_DENIED', retry: 'operator' });
});

test('a password that was changed is read again at each opening', async () => {
  let password = 'right';
  await server.query('GRANT CREATE ON DATABASE postgres TO locked');
  const address = (): string => server.url('postgres', 'locked').replace('locked@', `locked:${password}@`);
  await using sink = new PostgresSink({ ...sinkConfig(address()), name: 'rotated', freshOptions: async () => ({ url: address() }) }, createTestRuntime());
  const model = new SinkModel();
  await sink.open(model.start(), new AbortController().signal);
  await server.query("ALTER ROLE locked PASSWORD 'next'");
  await expect(sink.open(model.start(), new AbortController().signal)).rejects.toMatchObject({ code: 'REPLICA_DENIED', retry: 'auto' });
  password = 'next';
  await sink.open(model.start(), new AbortController().signal);
});

test('a role that may not hold back triggers writes tables that have none, and refuses the others', async () => {
  await using place = await replicaPlace(server);
  const model = new SinkModel();
  const { signal } = new AbortController();
  await place.reader.query(`GRANT ALL ON SCHEMA public TO plain; GRANT CREATE ON DATABASE ${place.database} TO plain`);
  await using sink = new PostgresSink(sinkConfig(place.url('plain')), createTestRuntime());
  await sink.open(model.start(), signal);
  const table = model.createTable('public', 'seats', SEATS, ['id']);
  model.insert(table, ['1', 'a']);
  await sink.apply(model.batch(), signal).durable;
  expect(await place.rows(table.schema)).toEqual([['1', 'a']]);
  await place.reader.query('CREATE TABLE public.uses (seat integer REFERENCES public.seats)');
  await sink.open(model.start(), signal);
  model.insert(table, ['2', 'b']);
  await expect(sink.apply(model.batch(), signal).durable).rejects.toMatchObject({ code: 'REPLICA_DENIED', retry: 'operator' });
});
