import { deflateSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BinlogReader } from '../../../../connectors/mysql/binlog/binlog-reader.ts';
import { EventType } from '../../../../connectors/mysql/binlog/event-types.ts';
import { parsePayloadHead, readPayload } from '../../../../connectors/mysql/binlog/payload.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { eventSpans, type GoldenLog, goldenLogs } from '../golden/golden.ts';
import { makeEvent } from './make-event.ts';
import { type Heard, hear, recorder } from './recorder.ts';

/** Recorded logs with damage: what comes out is what was recorded, or a refusal with a code and a place; in bounded time and memory. */

const logs = goldenLogs();
const REFUSALS = new Set(['MYSQL_BINLOG', 'MYSQL_CHECKSUM', 'MYSQL_EVENT_UNKNOWN', 'MYSQL_GTID']);
const MEMORY_LIMIT = 192 << 20;
const HEADER = 19;

/** What is heard before the first refusal; throws what is no refusal. */
function heardUntilRefused(events: Iterable<Buffer>, file: string): { readonly heard: readonly Heard[]; readonly refusal: TidemarkError | null } {
  const { reader, heard } = recorder({ file });
  try {
    for (const event of events) reader.event(event, 0, event.length);
    return { heard, refusal: null };
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error;
    expect(REFUSALS).toContain(error.code);
    expect(error.where.position).toMatch(/:\d+$/);
    return { heard, refusal: error };
  }
}

const eventsOf = ({ bytes }: GoldenLog): Buffer[] => eventSpans(bytes).map(({ start, end }) => bytes.subarray(start, end));

/** Of a thing that is heard, all that it says. Positions in a file are those of the event, wherever it came from. */
const said = (heard: readonly Heard[]): string[] => heard.map((one) => JSON.stringify({ ...one, place: '' }, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value)));

const isChecked = (log: GoldenLog): boolean => {
  const { reader } = recorder({ file: log.file });
  const [description = Buffer.alloc(0)] = eventsOf(log);
  reader.event(description, 0, description.length);
  return (reader satisfies BinlogReader).format.checksumBytes > 0;
};

const checked = logs.filter(isChecked).map((log) => ({ log, events: eventsOf(log), recorded: said(hear(log.bytes, log.file)) }));

type Blow = { readonly kind: 'flip' | 'set' | 'cut' | 'grow' | 'swap' | 'splice'; readonly at: number; readonly value: number };

const blow: fc.Arbitrary<Blow> = fc.record({ kind: fc.constantFrom('flip', 'set', 'cut', 'grow', 'swap', 'splice'), at: fc.nat(), value: fc.nat(255) });

/** The event with bytes on the way changed, lost, added, or put in another order; null where that has changed nothing. */
function struck(event: Buffer, { kind, at, value }: Blow): Buffer | null {
  const place = at % event.length;
  const copy = Buffer.from(event);
  if (kind === 'flip') copy[place] = (copy[place] ?? 0) ^ (1 << (value & 7));
  else if (kind === 'set') copy[place] = value;
  else if (kind === 'swap') copy.subarray(place, place + 8).reverse();
  else if (kind === 'cut') return event.subarray(0, place);
  else if (kind === 'grow') return Buffer.concat([event, Buffer.alloc(1 + (value & 15), value)]);
  else return Buffer.concat([event.subarray(0, place), event.subarray(Math.min(event.length, place + 1 + (value & 31)))]);
  return copy.equals(event) ? null : copy;
}

test('where the server has written checksums, damage of any event is refused, and what comes before it is as it was', () => {
  expect(new Set(checked.map(({ log }) => log.version)).size).toBeGreaterThanOrEqual(3);
  fc.assert(
    fc.property(fc.nat(checked.length - 1), fc.nat(), blow, (which, chosen, one) => {
      const { log, events, recorded } = checked[which] as (typeof checked)[number];
      const index = chosen % events.length;
      const damaged = struck(events[index] as Buffer, one);
      if (damaged === null) return;
      const { heard, refusal } = heardUntilRefused([...events.slice(0, index), damaged, ...events.slice(index + 1)], log.file);
      expect(refusal).not.toBeNull();
      const before = said(heard);
      expect(before).toEqual(recorded.slice(0, before.length));
    }),
    { numRuns: 300 },
  );
});

test('an event that is lost, or comes twice, or out of order, makes no other rows of those that are whole', () => {
  fc.assert(
    fc.property(fc.nat(checked.length - 1), fc.nat(), fc.constantFrom('lost', 'twice', 'order'), (which, chosen, kind) => {
      const { log, events, recorded } = checked[which] as (typeof checked)[number];
      const index = 1 + (chosen % (events.length - 1));
      const event = events[index] as Buffer;
      const moved = [...events];
      if (kind === 'lost') moved.splice(index, 1);
      else if (kind === 'twice') moved.splice(index, 0, event);
      else moved.splice(index - 1, 2, event, events[index - 1] as Buffer);
      const known = new Set(recorded);
      for (const one of said(heardUntilRefused(moved, log.file).heard)) expect(known).toContain(one);
    }),
    { numRuns: 100 },
  );
});

/** Content of compressed events: nothing in it has a checksum of its own. */
const compressed = logs.flatMap((log) =>
  eventsOf(log).flatMap((event, index) => {
    const type = event[4] ?? 0;
    if (type === EventType.transactionPayload) {
      const head = parsePayloadHead(event, HEADER, event.length);
      return [{ log, index, kind: 'payload' as const, content: readPayload(head, event.subarray(HEADER + head.headBytes, HEADER + head.headBytes + head.size)) }];
    }
    return [];
  }),
);

/** The head that the server writes: size, kind, size of the content. */
function payloadEvent(content: Buffer, announced: number): Buffer {
  const payload = zstdCompressSync(content);
  const packed = (value: number): Buffer => Buffer.from([0xfd, value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff]);
  const field = (kind: number, value: Buffer): Buffer => Buffer.concat([Buffer.from([kind, value.length]), value]);
  return makeEvent(
    EventType.transactionPayload,
    Buffer.concat([field(2, Buffer.from([0])), field(3, packed(announced)), field(1, packed(payload.length)), Buffer.from([0]), payload]),
    { checksum: true },
  );
}

test('a compressed transaction whose content is damaged is read or refused', () => {
  expect(compressed.length).toBeGreaterThan(2);
  fc.assert(
    fc.property(fc.nat(compressed.length - 1), fc.array(blow, { minLength: 1, maxLength: 3 }), fc.integer({ min: -3, max: 3 }), (which, blows, off) => {
      const { log, index, content } = compressed[which] as (typeof compressed)[number];
      const damaged = blows.reduce<Buffer>((bytes, one) => (bytes.length === 0 ? bytes : (struck(bytes, one) ?? bytes)), content);
      const event = payloadEvent(damaged, Math.max(0, damaged.length + (off === 3 ? 5 : 0)));
      heardUntilRefused([...eventsOf(log).slice(0, index), event], log.file);
    }),
    { numRuns: 300 },
  );
});

test('rows that MariaDB has compressed, with damaged content', () => {
  const rows = logs.filter(({ scenario }) => scenario === 'compressed').flatMap((log) =>
    eventsOf(log).flatMap((event, index) => (EventType.writeRowsCompressedV1 <= (event[4] ?? 0) && (event[4] ?? 0) <= EventType.deleteRowsCompressed ? [{ log, index, event }] : [])),
  );
  expect(rows.length).toBeGreaterThan(2);
  fc.assert(
    fc.property(fc.nat(rows.length - 1), fc.uint8Array({ maxLength: 400 }), fc.nat(), (which, content, lie) => {
      const { log, index, event } = rows[which] as (typeof rows)[number];
      // What stands before the compressed rows: the head that the table's number of columns gives, in an event of the same table.
      const head = event.subarray(HEADER, event.length - 4);
      const start = head.findIndex((byte, at) => at > 8 && (byte & 0xf8) === 0x80);
      const length = lie % 5 === 0 ? lie % (1 << 24) : content.length;
      const packed = Buffer.from([0x83, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff]);
      const body = Buffer.concat([head.subarray(0, Math.max(8, start)), packed, deflateSync(content)]);
      heardUntilRefused([...eventsOf(log).slice(0, index), makeEvent(event[4] ?? 0, body, { checksum: true })], log.file);
    }),
    { numRuns: 300 },
  );
});

test('no length that is announced takes memory before its bytes are there', () => {
  const before = process.resourceUsage().maxRSS * 1024;
  const huge = [0xff, 0xfe, 0xfd, 0xfc, 0x7f, 0x80];
  fc.assert(
    fc.property(fc.nat(logs.length - 1), fc.nat(), fc.nat(), fc.constantFrom(...huge), (which, chosen, at, value) => {
      const log = logs[which] as GoldenLog;
      const events = eventsOf(log);
      const index = chosen % events.length;
      const event = Buffer.from(events[index] as Buffer);
      const place = HEADER + (at % Math.max(1, event.length - HEADER));
      event.fill(value, place, Math.min(event.length, place + 9));
      const started = performance.now();
      heardUntilRefused([...events.slice(0, index), makeEvent(event[4] ?? 0, event.subarray(HEADER, event.length - 4), { checksum: true })], log.file);
      expect(performance.now() - started).toBeLessThan(2_000);
    }),
    { numRuns: 300 },
  );
  expect(process.resourceUsage().maxRSS * 1024 - before).toBeLessThan(MEMORY_LIMIT);
});
