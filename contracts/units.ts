/**
 * Sizes and durations as people write them. One meaning everywhere: in the configuration, in a module's options (the
 * JSON Schema keywords of option-schema.ts) and in the arguments of the command line.
 */

const SIZE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** What a size looks like: `200GB` (powers of 1000), `256MiB` (powers of 1024), or a number of bytes. */
export const SIZE_PATTERN = '^[0-9]+(\\.[0-9]+)? ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$';

/** What a duration looks like: `500ms`, `30s`, `10m`, `12h`, `7d`. */
export const DURATION_PATTERN = '^[0-9]+(\\.[0-9]+)? ?(ms|s|m|h|d)$';

/** Bytes, a whole number; null when `text` is not a size, or one beyond 2^53 - 1. */
export function parseSize(text: string | number): number | null {
  return parse(text, SIZE_PATTERN, SIZE_UNITS);
}

/** Milliseconds, a whole number; null when `text` is not a duration. A number is milliseconds. */
export function parseDuration(text: string | number): number | null {
  return parse(text, DURATION_PATTERN, DURATION_UNITS);
}

function parse(text: string | number, pattern: string, units: Readonly<Record<string, number>>): number | null {
  if (typeof text === 'number') return Number.isSafeInteger(text) && text >= 0 ? text : null;
  if (!new RegExp(pattern).test(text)) return null;
  const unit = units[text.replace(/^[0-9.]+ ?/, '')];
  if (unit === undefined) return null;
  const value = Math.round(Number.parseFloat(text) * unit);
  return Number.isSafeInteger(value) ? value : null;
}

const SIZE_STEPS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** For people: `0 B`, `1.5 GiB`. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let step = 0;
  while (value >= 1024 && step < SIZE_STEPS.length - 1) {
    value /= 1024;
    step++;
  }
  const digits = step === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${SIZE_STEPS[step]}`;
}

/** For people: `0.4 s`, `12 s`, `3 m 20 s`, `5 h 10 m`, `2 d 3 h`. */
export function formatDuration(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} m`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}
