/**
 * How characters of the multi-byte charsets of MySQL and MariaDB are laid out. Each has one table of two-byte codes; the
 * two Japanese EUC charsets have one more, of the codes behind the byte 0x8F; gb18030 has codes of four bytes besides.
 */
export interface Plane {
  /** First and last byte of a code that can stand first, and second. The table has a place for all in between. */
  readonly leads: readonly [number, number];
  readonly trails: readonly [number, number];
}

export interface Layout {
  readonly two: Plane;
  /** Codes of three bytes: 0x8F, then these two. */
  readonly three?: Plane;
  /** Single bytes of half-width katakana, 0xA1 to 0xDF. */
  readonly katakana?: boolean;
  readonly fourBytes?: boolean;
}

const EUC: Plane = { leads: [0xa1, 0xfe], trails: [0xa1, 0xfe] };
const EUC_WITH_KATAKANA: Plane = { leads: [0x8e, 0xfe], trails: [0xa1, 0xfe] };
const SHIFT_JIS: Plane = { leads: [0x81, 0xfc], trails: [0x40, 0xfc] };
const CHINESE: Plane = { leads: [0x81, 0xfe], trails: [0x40, 0xfe] };

export const LAYOUTS = {
  big5: { two: { leads: [0xa1, 0xf9], trails: [0x40, 0xfe] } },
  cp932: { two: SHIFT_JIS, katakana: true },
  sjis: { two: SHIFT_JIS, katakana: true },
  eucjpms: { two: EUC_WITH_KATAKANA, three: EUC },
  ujis: { two: EUC_WITH_KATAKANA, three: EUC },
  euckr: { two: { leads: [0x81, 0xfe], trails: [0x41, 0xfe] } },
  gb2312: { two: { leads: [0xa1, 0xf7], trails: [0xa1, 0xfe] } },
  gbk: { two: CHINESE },
  gb18030: { two: CHINESE, fourBytes: true },
} as const satisfies Record<string, Layout>;

export type DoubleByteCharset = keyof typeof LAYOUTS;

/** Stands in a table for the difference 0 to the code before, which itself means a code without meaning. */
export const SAME_POINT = 0x8000;

export function planeSize({ leads, trails }: Plane): number {
  return (leads[1] - leads[0] + 1) * (trails[1] - trails[0] + 1);
}

/** Place of a four-byte code of gb18030 in their order. */
export function linearCode(first: number, second: number, third: number, fourth: number): number {
  return (((first - 0x81) * 10 + (second - 0x30)) * 126 + (third - 0x81)) * 10 + (fourth - 0x30);
}
