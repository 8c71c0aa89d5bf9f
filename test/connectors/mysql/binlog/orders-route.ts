import type { RowRoute } from '../../../../connectors/mysql/binlog/row-writer.ts';
import type { TableMap } from '../../../../connectors/mysql/binlog/table-map.ts';
import type { ColumnDecoder } from '../../../../connectors/mysql/values/column-decoder.ts';
import { buildImage, IMAGE_HEADER } from '../../../../contracts/row-image.ts';

/** Decoders of the columns of `orders` (golden/scenarios.ts), as plain as can be: what they are tested with is the server's own text. */
const STATES = ['', 'new', 'paid', 'sent'];
const FLAGS = ['gift', 'rush', 'größe'];

function decoder(read: (bytes: Buffer, at: number) => { end: number; text: string }): ColumnDecoder {
  return {
    decode(bytes, at, out) {
      const { end, text } = read(bytes, at);
      const utf8 = Buffer.from(text, 'utf8');
      out.text(utf8, 0, utf8.length);
      return end;
    },
  };
}

const bigintUnsigned = decoder((bytes, at) => ({ end: at + 8, text: String(bytes.readBigUInt64LE(at)) }));
const int = decoder((bytes, at) => ({ end: at + 4, text: String(bytes.readInt32LE(at)) }));
const varchar = decoder((bytes, at) => ({ end: at + 1 + bytes.readUInt8(at), text: bytes.toString('utf8', at + 1, at + 1 + bytes.readUInt8(at)) }));
const textLatin1 = decoder((bytes, at) => ({ end: at + 2 + bytes.readUInt16LE(at), text: bytes.toString('latin1', at + 2, at + 2 + bytes.readUInt16LE(at)) }));
const enumeration = decoder((bytes, at) => ({ end: at + 1, text: STATES[bytes.readUInt8(at)] ?? '?' }));
const set = decoder((bytes, at) => ({ end: at + 1, text: FLAGS.filter((_, bit) => ((bytes.readUInt8(at) >> bit) & 1) === 1).join(',') }));

/** decimal(12,2): ten digits in five bytes, two in one; the first bit is inverted, all bits of negative ones. */
const decimal = decoder((bytes, at) => {
  const copy = Buffer.from(bytes.subarray(at, at + 6));
  copy[0] = copy.readUInt8(0) ^ 0x80;
  const negative = copy.readUInt8(0) >= 0x80;
  if (negative) for (const [index, byte] of copy.entries()) copy[index] = ~byte & 0xff;
  const whole = BigInt(copy.readUInt8(0)) * 1_000_000_000n + BigInt(copy.readUInt32BE(1));
  return { end: at + 6, text: `${negative ? '-' : ''}${whole}.${String(copy.readUInt8(5)).padStart(2, '0')}` };
});

/** datetime(6). */
const dateTime = decoder((bytes, at) => {
  const packed = BigInt(bytes.readUIntBE(at, 5)) - 0x80_0000_0000n;
  const field = (shift: bigint, bits: bigint): number => Number((packed >> shift) & ((1n << bits) - 1n));
  const two = (value: number): string => String(value).padStart(2, '0');
  const months = field(22n, 17n);
  const date = `${Math.floor(months / 13)}-${two(months % 13)}-${two(field(17n, 5n))}`;
  const time = `${two(field(12n, 5n))}:${two(field(6n, 6n))}:${two(field(0n, 6n))}.${String(bytes.readUIntBE(at + 5, 3)).padStart(6, '0')}`;
  return { end: at + 8, text: `${date} ${time}` };
});

const hexBlob = decoder((bytes, at) => {
  const end = at + 4 + bytes.readUInt32LE(at);
  return { end, text: bytes.toString('hex', at + 4, end).toUpperCase() };
});

export const ORDER_COLUMNS = ['id', 'customer', 'note', 'amount', 'quantity', 'state', 'flags', 'at', 'body'] as const;
const DECODERS: readonly ColumnDecoder[] = [bigintUnsigned, varchar, textLatin1, decimal, int, enumeration, set, dateTime, hexBlob];
/** Of columns that an insert leaves out: null, or what the table says. */
const DEFAULTS = ORDER_COLUMNS.map((name) => buildImage([name === 'state' ? 'new' : null]).subarray(IMAGE_HEADER));

/** Images with all columns of `orders` in another order than the table's, where `reversed`. */
export function ordersRoute(options: { reversed?: boolean; keepBefore?: boolean; isWide?: boolean; maxRowBytes?: number } = {}): RowRoute {
  const order = ORDER_COLUMNS.map((_, index) => index);
  if (options.reversed === true) order.reverse();
  return {
    tableId: 7,
    version: 3,
    sources: Int32Array.from(order),
    decoders: order.map((source) => DECODERS[source] as ColumnDecoder),
    defaults: order.map((source) => DEFAULTS[source] ?? null),
    key: [order.indexOf(0)],
    keepBefore: options.keepBefore ?? false,
    isWide: options.isWide ?? false,
    maxRowBytes: options.maxRowBytes ?? 1 << 20,
  };
}

/** Every column as its raw bytes, length prefix included: for what only has to survive. */
export function rawRoute(map: TableMap): RowRoute {
  const sources = Int32Array.from(map.types, (_, column) => column);
  return {
    tableId: 1,
    version: 1,
    sources,
    decoders: Array.from(sources, (column) => rawDecoder(map.widths[column] as number)),
    defaults: Array.from(sources, () => null),
    key: map.optional.primaryKey?.map(({ column }) => column) ?? [],
    keepBefore: true,
    isWide: false,
    maxRowBytes: 1 << 24,
  };
}

function rawDecoder(width: number): ColumnDecoder {
  return {
    decode(bytes, at, out) {
      const end = width >= 0 ? at + width : at - width + bytes.readUIntLE(at, -width);
      out.binary(bytes, at, end);
      return end;
    },
    patch(bytes, at, end, _old, _oldAt, _oldEnd, out) {
      out.binary(bytes, at, end);
    },
  };
}
