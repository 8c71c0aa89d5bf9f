/** Errors of the Postgres connector. */
export const POSTGRES_ERRORS = {
  PG_COPY_MALFORMED: {
    means: 'Postgres sent something in a COPY that is not a row of the table as the catalog described it.',
    remedy: 'Report it with the table; `tidemark source recopy` copies the table again.',
    retry: 'auto',
  },
  PG_COPY_LOCKED: {
    means: 'A table could not be locked against rewriting (ACCESS SHARE) within the lock timeout: somebody holds or awaits an exclusive lock on it.',
    remedy: 'Nothing: the copy tries again by itself. If it goes on, look for a long ALTER TABLE, VACUUM FULL or LOCK in pg_locks.',
    retry: 'auto',
  },
  PG_COPY_FAILED: {
    means: 'Reading a table for its copy failed at the server.',
    remedy: 'Read the message: for a missing privilege run the GRANT that `tidemark check` prints. The copy tries again by itself.',
    retry: 'auto',
  },
} as const;
