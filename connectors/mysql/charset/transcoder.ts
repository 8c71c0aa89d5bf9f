/** Text of any charset of MySQL and MariaDB as UTF-8: what `CONVERT(... USING utf8mb4)` gives, byte for byte. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { DoubleByteTranscoder } from './double-byte.ts';
import { LAYOUTS, type DoubleByteCharset } from './double-byte-layout.ts';
import { PACKED_TABLES } from './double-byte-tables.ts';
import { SingleByteTranscoder } from './single-byte.ts';
import { SINGLE_BYTE } from './tables/single-byte.ts';
import { Ucs2Transcoder, Utf16Transcoder, Utf32Transcoder, Utf8Transcoder } from './unicode.ts';

/**
 * What becomes of bytes that mean no character of Unicode: `refuse`: error; `replace`: `?` for each character (each byte,
 * where they are no character at all), as the server's own conversion gives it.
 */
export type Unmapped = 'refuse' | 'replace';

/** Immutable but for tables that it makes when it first needs them. */
export interface Transcoder {
  readonly charset: string;
  /** Bytes are UTF-8 already; only whether they are has to be looked at. */
  readonly isUtf8: boolean;
  /** The most bytes of UTF-8 that one byte becomes. */
  readonly growth: number;
  /**
   * Writes `bytes[start .. end)` as UTF-8 to `into` from `to` on, which must have room for `growth` times as many bytes, and
   * answers where they end.
   * @throws TidemarkError `MYSQL_TEXT`
   */
  transcode(bytes: Uint8Array, start: number, end: number, into: Uint8Array, to: number): number;
}

const made = new Map<string, Transcoder>();

/**
 * The transcoder of a charset (as `information_schema` names it; `utf8` is utf8mb3); null: the charset is not known, or it is
 * `binary`, which has no characters.
 */
export function transcoderOf(charset: string, unmapped: Unmapped = 'refuse'): Transcoder | null {
  const name = charset === 'utf8' ? 'utf8mb3' : charset;
  const key = `${name} ${unmapped}`;
  const known = made.get(key);
  if (known !== undefined) return known;
  const transcoder = create(name, unmapped);
  if (transcoder !== null) made.set(key, transcoder);
  return transcoder;
}

function create(charset: string, unmapped: Unmapped): Transcoder | null {
  switch (charset) {
    case 'utf8mb3':
    case 'utf8mb4':
      return new Utf8Transcoder(charset, unmapped);
    case 'ucs2':
      return new Ucs2Transcoder(unmapped);
    case 'utf16':
    case 'utf16le':
      return new Utf16Transcoder(charset, unmapped);
    case 'utf32':
      return new Utf32Transcoder(unmapped);
    default:
      if (isSingleByte(charset)) return new SingleByteTranscoder(charset, SINGLE_BYTE[charset], unmapped);
      if (isDoubleByte(charset)) return new DoubleByteTranscoder(charset, LAYOUTS[charset], PACKED_TABLES[charset], unmapped);
      return null;
  }
}

function isSingleByte(charset: string): charset is keyof typeof SINGLE_BYTE {
  return Object.hasOwn(SINGLE_BYTE, charset);
}

function isDoubleByte(charset: string): charset is DoubleByteCharset {
  return Object.hasOwn(LAYOUTS, charset);
}

/** Bytes as a string, for names and labels. @throws TidemarkError `MYSQL_TEXT` */
export function textOf(transcoder: Transcoder, bytes: Uint8Array): string {
  const into = Buffer.allocUnsafe(bytes.length * transcoder.growth);
  return into.toString('utf8', 0, transcoder.transcode(bytes, 0, bytes.length, into, 0));
}

/** @throws TidemarkError `MYSQL_TEXT` when the charset is not known */
export function requireTranscoder(charset: string, unmapped: Unmapped): Transcoder {
  const transcoder = transcoderOf(charset, unmapped);
  if (transcoder === null) throw new TidemarkError('MYSQL_TEXT', `the charset ${charset} is not known`);
  return transcoder;
}
