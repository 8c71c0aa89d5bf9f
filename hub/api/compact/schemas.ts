/** What goes over the API for `POST /v1/sources/SOURCE/compact`: lines of progress, then one that says what was done. */
import Type, { type Static } from 'typebox';
import { nullable, OFFSET } from '../schemas.ts';

export const COMPACT_BODY = Type.Object(
  { to: Type.Optional(Type.String({ minLength: 1, maxLength: 1000, description: 'A moment up to which history is folded; default: all of it' })) },
  { additionalProperties: false },
);

const HOLD = nullable(Type.Object({ by: Type.Enum(['reader', 'lease', 'copy']), name: Type.String(), offset: OFFSET }));

export const COMPACT_LINE = Type.Union([
  Type.Object({ progress: Type.Object({ phase: Type.Enum(['fold', 'merge']), horizon: OFFSET, to: OFFSET, bytes: Type.Number(), totalBytes: Type.Number() }) }),
  Type.Object({ done: Type.Object({ from: OFFSET, horizon: OFFSET, to: OFFSET, hold: HOLD }) }),
]);
export type CompactLine = Static<typeof COMPACT_LINE>;
