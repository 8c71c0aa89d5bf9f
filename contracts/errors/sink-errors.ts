/** Errors of sinks. */
export const SINK_ERRORS = {} as const;
