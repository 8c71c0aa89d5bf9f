/** Errors of the hub: configuration, CLI, API, pipelines. */
export const HUB_ERRORS = {} as const;
