import type { Unmapped } from '../charset/transcoder.ts';
import type { ZeroDates } from './calendar.ts';

/** What becomes of values that Unicode or the calendar do not know. */
export interface ValueOptions {
  readonly zeroDates: ZeroDates;
  readonly invalidText: Unmapped;
}

export const DEFAULT_VALUE_OPTIONS: ValueOptions = { zeroDates: 'keep', invalidText: 'refuse' };
