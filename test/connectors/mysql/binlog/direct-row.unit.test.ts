import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { BinlogHandler } from '../../../../connectors/mysql/binlog/binlog-handler.ts';
import { BinlogReader } from '../../../../connectors/mysql/binlog/binlog-reader.ts';
import { DirectRow } from '../../../../connectors/mysql/binlog/direct-row.ts';
import type { RowRoute } from '../../../../connectors/mysql/binlog/row-route.ts';
import { RowWriter } from '../../../../connectors/mysql/binlog/row-writer.ts';
import { NULL, RowSpans } from '../../../../connectors/mysql/binlog/rows-event.ts';
import type { TableMap } from '../../../../connectors/mysql/binlog/table-map.ts';
import { requireTranscoder } from '../../../../connectors/mysql/charset/transcoder.ts';
import { binaryDecoder, bitDecoder } from '../../../../connectors/mysql/values/bytes.ts';
import { CellSpans, CellWriter } from '../../../../connectors/mysql/values/cell-writer.ts';
import type { ColumnDecoder } from '../../../../connectors/mysql/values/column-decoder.ts';
import { DecimalDecoder } from '../../../../connectors/mysql/values/decimal.ts';
import { decoderOf } from '../../../../connectors/mysql/values/decoder.ts';
import { DOUBLE } from '../../../../connectors/mysql/values/floats.ts';
import { SIGNED, UNSIGNED, YEAR } from '../../../../connectors/mysql/values/integers.ts';
import { dateDecoder, datetimeDecoder } from '../../../../connectors/mysql/values/temporal.ts';
import { textDecoder } from '../../../../connectors/mysql/values/text.ts';
import { DEFAULT_VALUE_OPTIONS } from '../../../../connectors/mysql/values/value-options.ts';
import { typeOfWireColumn, wireColumn } from '../../../../connectors/mysql/values/wire-column.ts';
import { BatchBuilder, type ChangeBatch } from '../../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { Op } from '../../../../contracts/op.ts';
import { eventSpans, goldenLogs, type GoldenLog } from '../golden/golden.ts';

const ignore = (): void => undefined;
const WHOLE = { defaults: [], keepBefore: false, isWide: false, maxRowBytes: 1 << 24 };

/** The same decoders, each value by a call. */
function withoutForms(route: RowRoute): RowRoute {
  const plain = (decoder: ColumnDecoder): ColumnDecoder => ({
    decode: (bytes, at, out) => decoder.decode(bytes, at, out),
    ...(decoder.patch === undefined ? {} : { patch: (...diffs: Parameters<typeof decoder.patch>) => decoder.patch?.(...diffs) }),
  });
  return { ...route, decoders: route.decoders.map(plain) };
}

function routeOf(map: TableMap): RowRoute | null {
  const decoders: ColumnDecoder[] = [];
  for (let column = 0; column < map.types.length; column++) {
    const wire = wireColumn(map, column);
    const type = typeOfWireColumn(wire);
    if (type === null) return null;
    decoders.push(decoderOf(wire, type, DEFAULT_VALUE_OPTIONS));
  }
  const sources = Int32Array.from(decoders, (_, column) => column);
  return { ...WHOLE, tableId: 1, version: 1, sources, decoders, defaults: decoders.map(() => null), key: map.optional.primaryKey?.map(({ column }) => column) ?? [] };
}

function batchOf(log: GoldenLog, change: (route: RowRoute) => RowRoute): ChangeBatch {
  const builder = new BatchBuilder();
  const writer = new RowWriter(builder);
  const routes = new Map<TableMap, RowRoute | null>();
  builder.begin('source', 0, 0);
  const rows: BinlogHandler['rows'] = (reader, map) => {
    const known = routes.get(map);
    const route = known === undefined ? routeOf(map) : known;
    routes.set(map, route);
    if (route !== null) while (reader.next()) writer.write(reader, change(route));
  };
  const handler: BinlogHandler = {
    formatDescription: ignore, rotate: ignore, previousGtids: ignore, gtidList: ignore, gtid: ignore, mariadbGtid: ignore, query: ignore,
    loadData: ignore, statementContext: ignore, rowsStatement: ignore, tableMap: ignore, xid: ignore, xaPrepare: ignore, heartbeat: ignore,
    incident: ignore, rowsTooLarge: ignore, rows,
  };
  const reader = new BinlogReader(handler, { file: log.file, maxEventBytes: 1 << 20 });
  for (const { start, end } of eventSpans(log.bytes)) reader.event(log.bytes, start, end);
  return builder.take();
}

test.each(goldenLogs().map((log) => [`${log.version} ${log.scenario}`, log] as const))('rows of %s are the same by form and by decoder', (_name, log) => {
  const direct = batchOf(log, (route) => route);
  expect(direct.records.equals(batchOf(log, withoutForms).records)).toBe(true);
});

/** A column and a value of it in the form of rows events. */
interface Sample {
  readonly decoder: ColumnDecoder;
  readonly bytes: Buffer;
}

const utf8 = requireTranscoder('utf8mb4', 'refuse');
const fixed = (decoder: ColumnDecoder, width: number): fc.Arbitrary<Sample> => fc.uint8Array({ minLength: width, maxLength: width }).map((bytes) => ({ decoder, bytes: Buffer.from(bytes) }));
const sized = (decoder: ColumnDecoder, prefix: number, bytes: Buffer): Sample => {
  const length = Buffer.alloc(prefix);
  length.writeUIntLE(bytes.length, 0, prefix);
  return { decoder, bytes: Buffer.concat([length, bytes]) };
};
const texts = fc.oneof(fc.string({ maxLength: 60 }), fc.string({ unit: 'grapheme', maxLength: 60 }), fc.string({ minLength: 250, maxLength: 400 }), fc.constant('  blanks  '));
const doubles = fc.oneof(fc.double(), fc.integer().map((value) => value / 100), fc.integer().map((value) => value / 7), fc.integer().map((value) => value / 1e7), fc.integer().map((value) => value / 1e8), fc.integer().map(Number));
const doubleBytes = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return bytes;
};
const DECIMALS = ([[12, 2], [65, 30], [9, 9], [1, 0], [18, 4], [38, 10]] as const).map(([precision, scale]) => new DecimalDecoder(precision, scale));
const DATETIMES = [0, 2, 4, 6].map((digits) => datetimeDecoder(digits, 'keep'));

const SAMPLES: fc.Arbitrary<Sample> = fc.oneof(
  ...([1, 2, 3, 4, 8] as const).flatMap((width) => [fixed(SIGNED[width], width), fixed(UNSIGNED[width], width)]),
  fixed(YEAR, 1),
  fixed(bitDecoder(13), 2),
  doubles.map((value) => ({ decoder: DOUBLE, bytes: doubleBytes(value) })),
  fixed(DOUBLE, 8),
  ...DECIMALS.map((decoder) => fixed(decoder, decoder.length)),
  fixed(dateDecoder('keep'), 3),
  fixed(dateDecoder('refuse'), 3),
  ...DATETIMES.map((decoder, at) => fixed(decoder, 5 + at)),
  // What a server writes: fields within their limits, and the highest bit.
  fc.tuple(fc.constantFrom(...DATETIMES.entries()), fc.nat(9999), fc.nat(12), fc.nat(31), fc.nat(23), fc.nat(59), fc.nat(59), fc.nat(99)).map(([[at, decoder], year, month, day, hour, minute, second, part]) => {
    const packed = 0x80_0000_0000n + (BigInt(year * 13 + month) << 22n) + BigInt((day << 17) + (hour << 12) + (minute << 6) + second);
    const bytes = Buffer.alloc(5 + at);
    bytes.writeUIntBE(Number(packed), 0, 5);
    if (at > 0) bytes.writeUIntBE(at === 1 ? part : at === 2 ? part * 99 : part * 9_999, 5, at);
    return { decoder, bytes };
  }),
  fc.tuple(texts, fc.boolean(), fc.constantFrom(2, 3, 4)).map(([text, trim, prefix]) => sized(textDecoder(utf8, prefix, trim), prefix, Buffer.from(text))),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => sized(textDecoder(utf8, 2, false), 2, Buffer.from(bytes))),
  texts.map((text) => sized(textDecoder(requireTranscoder('latin1', 'refuse'), 2, false), 2, Buffer.from(text, 'latin1'))),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => sized(binaryDecoder(2), 2, Buffer.from(bytes))),
);

const REFUSED = /^MYSQL_\w+/;

/** Records, or the code of what was thrown. */
function outcome(write: (builder: BatchBuilder) => void): string {
  const builder = new BatchBuilder(256);
  builder.begin('source', 0, 0);
  try {
    write(builder);
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error;
    return `${error.code}, ${builder.count} records`;
  }
  return builder.take().records.toString('hex');
}

describe('a row written directly', () => {
  test('has the bytes that its decoders give, whatever the columns and the key', () => {
    fc.assert(fc.property(fc.array(fc.option(SAMPLES, { freq: 8 }), { minLength: 1, maxLength: 8 }), fc.array(fc.nat(7), { minLength: 1, maxLength: 3 }), fc.nat(20), (columns, keys, before) => {
      const key = [...new Set(keys.map((at) => at % columns.length))].filter((at) => columns[at] !== null);
      fc.pre(key.length > 0);
      const decoders = columns.map((column) => column?.decoder ?? YEAR);
      const route: RowRoute = { ...WHOLE, tableId: 7, version: 3, sources: Int32Array.from(columns, (_, at) => at), decoders, defaults: columns.map(() => null), key };
      const row = new RowSpans();
      row.bytes = Buffer.concat([Buffer.alloc(before), ...columns.map((column) => column?.bytes ?? Buffer.alloc(0)), Buffer.alloc(3)]);
      row.isWhole = true;
      row.from = row.to = before;
      for (const [at, column] of columns.entries()) {
        row.starts[at] = column === null ? NULL : row.to;
        row.to += column?.bytes.length ?? 0;
        row.ends[at] = row.to;
      }
      const by = (used: RowRoute) => (op: Op) => outcome((builder) => {
        const direct = new DirectRow(builder);
        expect(direct.takes(used)).toBe(true);
        if (op === Op.delete) direct.key(op, used, row);
        else direct.image(op, used, row);
      });
      expect(by(route)(Op.create)).toBe(by(withoutForms(route))(Op.create));
      expect(by(route)(Op.delete)).toBe(by(withoutForms(route))(Op.delete));
      // Of two values that cannot be read the key's comes first here, the first column's there.
      expect(by(route)(Op.create).replace(REFUSED, '')).toBe(outcome((builder) => reference(builder, route, row)).replace(REFUSED, ''));
    }), { numRuns: 3_000 });
  });
});

/** A record made the long way. */
function reference(builder: BatchBuilder, { sources, decoders, key }: RowRoute, row: RowSpans): void {
  const out = new CellWriter();
  const spans = new CellSpans();
  out.beginImage(spans, sources.length);
  for (const [at, decoder] of decoders.entries()) {
    if ((row.starts[at] as number) < 0) out.null();
    else decoder.decode(row.bytes, row.starts[at] as number, out);
  }
  out.endImage();
  const parts = key.flatMap((cell) => {
    const value = out.bytes.subarray(spans.starts[cell], spans.ends[cell]);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(value.length);
    return [length, value];
  });
  builder.record(Op.create, 0, 7, 3, Buffer.concat(parts), Buffer.alloc(0), out.bytes.subarray(spans.start, spans.end));
}
