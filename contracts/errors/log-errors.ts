/** Errors of the log engines. */
export const LOG_ERRORS = {} as const;
