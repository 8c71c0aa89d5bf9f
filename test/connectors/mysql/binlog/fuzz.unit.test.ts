import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BinlogHandler } from '../../../../connectors/mysql/binlog/binlog-handler.ts';
import { BinlogReader } from '../../../../connectors/mysql/binlog/binlog-reader.ts';
import { EventType } from '../../../../connectors/mysql/binlog/event-types.ts';
import { RowWriter } from '../../../../connectors/mysql/binlog/row-writer.ts';
import { BatchBuilder } from '../../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { eventSpans, type GoldenLog, goldenLogs } from '../golden/golden.ts';
import { withChecksum } from './make-event.ts';
import { rawRoute } from './orders-route.ts';

const ignore = (): void => undefined;
const logs = goldenLogs();
/** What a reader of damaged bytes may say. */
const CODES = new Set(['MYSQL_BINLOG', 'MYSQL_CHECKSUM', 'MYSQL_EVENT_UNKNOWN', 'MYSQL_GTID', 'MYSQL_PARTIAL_ROW', 'MYSQL_ROW_TOO_LARGE', 'RECORD_CORRUPT']);

/** What no length check foresaw. zlib says by a RangeError that content is longer than it was announced: that is foreseen. */
function isSlip(cause: unknown): boolean {
  if (cause instanceof TidemarkError) return isSlip(cause.cause);
  const isZlib = cause instanceof Error && 'code' in cause && cause.code === 'ERR_BUFFER_TOO_LARGE';
  return !isZlib && (cause instanceof RangeError || cause instanceof TypeError || cause instanceof ReferenceError);
}

/** Reads rows to their end, as records. */
function readerOf(log: GoldenLog): BinlogReader {
  const builder = new BatchBuilder(1 << 16);
  const writer = new RowWriter(builder);
  builder.begin('source', 0, 0);
  const handler: BinlogHandler = {
    formatDescription: ignore, rotate: ignore, previousGtids: ignore, gtidList: ignore, gtid: ignore, mariadbGtid: ignore, query: ignore,
    loadData: ignore, statementContext: ignore, rowsStatement: ignore, tableMap: ignore, xid: ignore, xaPrepare: ignore, heartbeat: ignore,
    incident: ignore, rowsTooLarge: ignore,
    rows(rows, map) {
      const route = rawRoute(map);
      while (rows.next()) writer.write(rows, route);
    },
  };
  return new BinlogReader(handler, { file: log.file, maxEventBytes: 1 << 20 });
}

interface Damage {
  readonly log: number;
  readonly event: number;
  readonly bytes: readonly { readonly at: number; readonly value: number }[];
  readonly cut: number;
}

const damage: fc.Arbitrary<Damage> = fc.record({
  log: fc.nat(logs.length - 1),
  event: fc.nat(),
  bytes: fc.array(fc.record({ at: fc.nat(), value: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xfe, 0xff)) }), { minLength: 1, maxLength: 4 }),
  cut: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(40) }),
});

/** Damaged behind the header, its length and checksum made to fit again: so that what is inside is looked at. */
function damaged(event: Buffer, { bytes, cut }: Damage): Buffer {
  const kept = Math.max(24, event.length - cut);
  const copy = Buffer.from(event.subarray(0, kept));
  for (const { at, value } of bytes) copy[19 + (at % Math.max(1, kept - 19))] = value;
  copy.writeUInt32LE(copy.length, 9);
  return withChecksum(copy);
}

test('whatever bytes an event has, it is read or refused with a code and its place', () => {
  fc.assert(
    fc.property(damage, (one) => {
      const log = logs[one.log] as GoldenLog;
      const spans = eventSpans(log.bytes);
      const chosen = one.event % spans.length;
      const reader = readerOf(log);
      for (const [index, { start, end }] of spans.entries()) {
        if (index > chosen + 1) break;
        const event = index === chosen ? damaged(log.bytes.subarray(start, end), one) : log.bytes.subarray(start, end);
        try {
          reader.event(event, 0, event.length);
        } catch (error) {
          if (!(error instanceof TidemarkError)) throw error;
          expect(isSlip(error.cause)).toBe(false);
          expect(CODES).toContain(error.code);
          expect(error.where.position).toMatch(/:\d+$/);
          break;
        }
      }
    }),
    { numRuns: 3_000 },
  );
});

test('the same for table maps and rows alone, whose lengths matter most', () => {
  const chosen = logs.flatMap((log) =>
    eventSpans(log.bytes).flatMap(({ start }, index) => {
      const type = log.bytes[start + 4] ?? 0;
      return type === EventType.tableMap || (type >= 23 && type <= 32) || type === 39 || type === 40 || type >= 165 ? [{ log, index }] : [];
    }),
  );
  fc.assert(
    fc.property(fc.nat(chosen.length - 1), damage, (which, one) => {
      const { log, index } = chosen[which] as (typeof chosen)[number];
      const reader = readerOf(log);
      const spans = eventSpans(log.bytes);
      try {
        for (const [place, { start, end }] of spans.slice(0, index + 2).entries()) {
          const event = place === index ? damaged(log.bytes.subarray(start, end), one) : log.bytes.subarray(start, end);
          reader.event(event, 0, event.length);
        }
      } catch (error) {
        if (!(error instanceof TidemarkError)) throw error;
        expect(isSlip(error.cause)).toBe(false);
        expect(CODES).toContain(error.code);
      }
    }),
    { numRuns: 3_000, examples: [[330, { log: 0, event: 0, bytes: [{ at: 283396827, value: 254 }], cut: 0 }]] },
  );
});

test('random bytes as an event', () => {
  const log = logs.find(({ version, scenario }) => version === 'mysql-9' && scenario === 'minimal') as GoldenLog;
  const [description] = eventSpans(log.bytes);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(255), (body, type) => {
      const reader = readerOf(log);
      reader.event(log.bytes, description?.start ?? 0, description?.end ?? 0);
      const event = Buffer.alloc(19 + body.length);
      event.writeUInt32LE(event.length, 9);
      event[4] = type;
      event.set(body, 19);
      try {
        reader.event(event, 0, event.length);
      } catch (error) {
        if (!(error instanceof TidemarkError)) throw error;
        expect(isSlip(error.cause)).toBe(false);
        expect(CODES).toContain(error.code);
      }
    }),
    { numRuns: 3_000 },
  );
});
