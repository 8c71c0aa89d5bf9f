/** The shape that the rows of a table have in Redis. */
/** `half`: rows have the names in between of a change in two walks; see reshape.ts. */
export interface RowVersion {
  readonly version: number;
  readonly half: boolean;
}

/** Before any row. */
export const UNKNOWN_VERSION: RowVersion = { version: 0, half: false };

/** True when rows of version `now` have still to become `done`. */
export function isBefore(now: RowVersion, done: RowVersion): boolean {
  if (now.version !== done.version) return now.version < done.version;
  return now.half && !done.half;
}
