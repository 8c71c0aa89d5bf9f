/** Readers of arguments; what they refuse is a fault of usage. */
import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../../contracts/units.ts';

/** A whole number from 1 on. */
export function countArgument(text: string): number {
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('It must be a whole number from 1 on.');
  return value;
}

/** A duration in milliseconds. */
export function durationArgument(text: string): number {
  const ms = parseDuration(text);
  if (ms === null) throw new InvalidArgumentError('It must be a duration such as 500ms, 30s or 5m.');
  return ms;
}

/** Gathers the values of an option that may be given again. */
export function listArgument(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}
