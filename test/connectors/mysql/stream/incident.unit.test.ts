import { expect, test } from 'vitest';
import { BinlogReader } from '../../../../connectors/mysql/binlog/binlog-reader.ts';
import { EventType } from '../../../../connectors/mysql/binlog/event-types.ts';
import { MariadbGtids } from '../../../../connectors/mysql/mariadb-gtid.ts';
import { decodePlace, type MariadbPlace } from '../../../../connectors/mysql/position.ts';
import { PositionWriter } from '../../../../connectors/mysql/position-writer.ts';
import { resumeAt } from '../../../../connectors/mysql/stream/gate.ts';
import { RolledBack } from '../../../../connectors/mysql/stream/group.ts';
import { PreparedTransactions } from '../../../../connectors/mysql/stream/kept-rows.ts';
import { Outlet } from '../../../../connectors/mysql/stream/outlet.ts';
import { Transactions } from '../../../../connectors/mysql/stream/transactions.ts';
import { Catalog } from '../../../../contracts/catalog.ts';
import { ReferenceLog } from '../../../../contracts/kit/reference-log.ts';
import { isRowOp } from '../../../../contracts/op.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { makeEvent, u16 } from '../binlog/make-event.ts';
import { eventSpans, goldenLog } from '../golden/golden.ts';
import { PlainTracking } from './plain-tracking.ts';

const golden = goldenLog('mariadb-11.8', 'rows');
const spans = eventSpans(golden.bytes);
const startOf = (info: string): number => golden.events.findIndex((event) => event.info.includes(info));
const SERVER = '892866327';

/** The first `count` events of the golden log, then an incident, handled from `place` on; what the log then has. */
async function readWithIncident(count: number, place: MariadbPlace): Promise<{ log: ReferenceLog; tracking: PlainTracking }> {
  const tracking = new PlainTracking(Catalog.from([]), 'mariadb', 'golden');
  const outlet = new Outlet({ pause: () => undefined, resume: () => undefined }, createTestRuntime().clock);
  const transactions = new Transactions({
    tracking, outlet, positions: new PositionWriter(place), named: new Uint8Array(0), server: SERVER, serverId: Number(SERVER), isByGtid: true,
    gate: resumeAt(place, true).gate, prepared: new PreparedTransactions([]), rolledBack: new RolledBack(),
    host: {
      heard: () => undefined,
      boundary: () => undefined,
      hold: () => expect.unreachable('nothing is held'),
      readAgain: () => Promise.reject(new Error('nothing is read again')),
    },
  });
  const reader = new BinlogReader(transactions, { file: golden.file, maxEventBytes: 1 << 20 });
  transactions.attach(reader);
  for (const { start, end } of spans.slice(0, count)) reader.event(golden.bytes, start, end);
  const end = spans[count - 1]?.end ?? 0;
  const body = Buffer.concat([u16(1), Buffer.from([4]), Buffer.from('lost')]);
  const { length } = makeEvent(EventType.incident, body, { checksum: true });
  reader.event(makeEvent(EventType.incident, body, { checksum: true, endPosition: end + length }), 0, length);
  expect(transactions.isOpen).toBe(false);
  const log = new ReferenceLog();
  const batch = await outlet.next();
  if (batch !== null) log.append(batch);
  outlet.end();
  return { log, tracking };
}

const from = (offset: number): MariadbPlace => ({ flavor: 'mariadb', server: SERVER, file: golden.file, offset, isByGtid: true, executed: MariadbGtids.parse(`0-${SERVER}-3`) });

test('an incident of MariaDB, which has no GTID, stops every table behind the transaction before it', async () => {
  const { log, tracking } = await readWithIncident(startOf(`GTID 0-${SERVER}-5`), from(4));
  expect([...tracking.stopped]).toEqual([['orders', 'MYSQL_INCIDENT']]);
  expect(log.read(0).filter(({ op }) => isRowOp(op))).toHaveLength(3);
});

test('what a failed write has left of a transaction before an incident has not happened', async () => {
  const begun = startOf(`GTID 0-${SERVER}-5`);
  for (const events of [1, 4, 7]) {
    const { log, tracking } = await readWithIncident(begun + events, from(4));
    expect([...tracking.stopped]).toEqual([['orders', 'MYSQL_INCIDENT']]);
    expect(log.read(0).filter(({ op }) => isRowOp(op))).toHaveLength(3);
    expect(decodePlace(Buffer.from(log.position ?? '', 'hex')).executed.toString()).toBe(`0-${SERVER}-4`);
  }
});

test('one that the log stands behind is no news', async () => {
  const count = startOf(`GTID 0-${SERVER}-5`);
  const { tracking } = await readWithIncident(count, from((spans[count - 1]?.end ?? 0) + 1_000));
  expect(tracking.stopped.size).toBe(0);
});
