/** Values of a source's or sink's own settings: the configuration has been held against their schema before. */
import type { Options } from './config.ts';
import { TidemarkError, type ErrorWhere } from './errors/error.ts';
import { parseDuration, parseSize } from './units.ts';

/** Undefined: it is not set. @throws TidemarkError `CONFIG_VALUE` */
export function textValue(options: Options, name: string): string | undefined {
  const value = options[name];
  if (value === undefined || typeof value === 'string') return value;
  throw new TidemarkError('CONFIG_VALUE', `${name} is not a text`);
}

/** Milliseconds. @param fallback where it is not set. @throws TidemarkError `CONFIG_VALUE` */
export function durationValue(options: Options, name: string, fallback: string, where: ErrorWhere = {}): number {
  const ms = parseDuration(scalarOf(options[name]) ?? fallback);
  if (ms === null) throw new TidemarkError('CONFIG_VALUE', `${name} is not a duration`, { where });
  return ms;
}

/** Bytes. @param fallback where it is not set. @throws TidemarkError `CONFIG_VALUE` */
export function sizeValue(options: Options, name: string, fallback: string): number {
  const bytes = parseSize(scalarOf(options[name]) ?? fallback);
  if (bytes === null) throw new TidemarkError('CONFIG_VALUE', `${name} is not a size`);
  return bytes;
}

function scalarOf(value: unknown): string | number | undefined {
  return typeof value === 'string' || typeof value === 'number' ? value : undefined;
}
