/** Keys longer than this are compared by the runtime, which is faster from there on. */
const SHORT = 48;

/** Order of two stretches of bytes: bytewise, the shorter first. */
export function compareSpans(a: Buffer, aStart: number, aEnd: number, b: Buffer, bStart: number, bEnd: number): number {
  const aLength = aEnd - aStart;
  const bLength = bEnd - bStart;
  const common = aLength < bLength ? aLength : bLength;
  const near = common < SHORT ? common : SHORT;
  for (let at = 0; at < near; at++) {
    const order = (a[aStart + at] as number) - (b[bStart + at] as number);
    if (order !== 0) return order;
  }
  if (near === common) return aLength - bLength;
  return a.compare(b, bStart + near, bEnd, aStart + near, aEnd);
}
