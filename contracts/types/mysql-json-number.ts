/** A double in JSON as the server prints it. */
const MOST_WHOLE_DIGITS = 15;
const MOST_ZEROS = 14;

/** `1.0`, `0.00001`, `1e15`, `1.5e-20`: shortest digits, plain from 1e-15 to 1e15 (or beyond, where digits stand behind the point). */
export function jsonDouble(value: number): string {
  if (value === 0) return Object.is(value, 0) ? '0.0' : '-0.0';
  const sign = value < 0 ? '-' : '';
  const text = Math.abs(value).toExponential();
  const mark = text.indexOf('e');
  const digits = text[1] === '.' ? `${text[0]}${text.slice(2, mark)}` : text.slice(0, mark);
  /** Digits before the point. */
  const whole = Number(text.slice(mark + 1)) + 1;
  if (whole < -MOST_ZEROS || (whole > MOST_WHOLE_DIGITS && digits.length <= whole)) {
    return `${sign}${digits.length > 1 ? `${digits[0]}.${digits.slice(1)}` : digits}e${whole - 1}`;
  }
  if (whole <= 0) return `${sign}0.${'0'.repeat(-whole)}${digits}`;
  if (digits.length <= whole) return `${sign}${digits.padEnd(whole, '0')}.0`;
  return `${sign}${digits.slice(0, whole)}.${digits.slice(whole)}`;
}
