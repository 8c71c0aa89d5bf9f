/** Errors of the Postgres connector. */
export const POSTGRES_ERRORS = {} as const;
