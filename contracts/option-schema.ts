/**
 * Building blocks for the JSON Schemas that connectors and sinks export as their `options`. Two keywords beyond JSON
 * Schema are understood by the hub: a property with `size` is written as `256MiB` and handed over as a number of
 * bytes; one with `duration` is written as `30s` and handed over as a number of milliseconds. Their bounds are
 * inclusive. Editors ignore the keywords and check the pattern.
 */
import { TidemarkError } from './errors/error.ts';
import { DURATION_PATTERN, SIZE_PATTERN, parseDuration, parseSize } from './units.ts';

/** Inclusive bounds, as people write them. */
export interface UnitBounds {
  readonly min?: string;
  readonly max?: string;
}

interface UnitOptions extends UnitBounds {
  readonly description: string;
  /** As people write it; handed over converted. */
  readonly default?: string;
}

export interface SizeSchema {
  readonly type: readonly ['integer', 'string'];
  readonly pattern: string;
  readonly size: UnitBounds;
  readonly description: string;
  readonly default?: string;
}

export interface DurationSchema {
  readonly type: readonly ['integer', 'string'];
  readonly pattern: string;
  readonly duration: UnitBounds;
  readonly description: string;
  readonly default?: string;
}

/** A property that holds a size. @throws TidemarkError `INTERNAL` when a bound or the default is not a size */
export function sizeOption(options: UnitOptions): SizeSchema {
  const { bounds, rest } = checked(options, parseSize);
  return { type: ['integer', 'string'], pattern: SIZE_PATTERN, size: bounds, ...rest };
}

/** A property that holds a duration. @throws TidemarkError `INTERNAL` when a bound or the default is not a duration */
export function durationOption(options: UnitOptions): DurationSchema {
  const { bounds, rest } = checked(options, parseDuration);
  return { type: ['integer', 'string'], pattern: DURATION_PATTERN, duration: bounds, ...rest };
}

function checked(options: UnitOptions, parse: (text: string) => number | null) {
  const { min, max, ...rest } = options;
  for (const text of [min, max, rest.default]) {
    if (text !== undefined && parse(text) === null) throw new TidemarkError('INTERNAL', `'${text}' in an option schema cannot be read`);
  }
  const bounds: UnitBounds = { ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) };
  return { bounds, rest };
}
