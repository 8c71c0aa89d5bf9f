/** Errors of the Postgres connector. */
export const POSTGRES_ERRORS = {
  POSTGRES_URL: {
    means: 'The address of a Postgres server cannot be read.',
    remedy: 'Write it as `postgres://user:password@host:5432/database?sslmode=verify-full`; several hosts are divided by commas.',
    retry: 'operator',
  },
  POSTGRES_UNREACHABLE: {
    means: 'The connection to the Postgres source could not be made, or was lost.',
    remedy: 'See that the server runs, and check host and port of the address. It is tried again by itself, and nothing is lost: the stream goes on from the last durable position.',
    retry: 'auto',
  },
  POSTGRES_TLS: {
    means: 'The server does not offer TLS although `sslmode` asks for it, or its certificate is not accepted.',
    remedy: 'Check `sslmode`, `sslrootcert` and the host name in the address against the certificate of the server.',
    retry: 'operator',
  },
  POSTGRES_ACCESS: {
    means: 'The server refuses the role, its password or a privilege that is needed, or has no such database.',
    remedy: 'Check user, password and name of the database in the address; `tidemark check` prints the GRANT and ALTER ROLE statements that are missing.',
    retry: 'operator',
  },
  POSTGRES_QUERY: {
    means: 'The server answered a statement of the connector with an error.',
    remedy: 'The message is the server\'s. `tidemark check` looks for the usual causes.',
    retry: 'operator',
  },
  POSTGRES_VERSION: {
    means: 'The server is older than PostgreSQL 13, or is not PostgreSQL.',
    remedy: 'Use PostgreSQL 13 or newer as the source.',
    retry: 'operator',
  },
  POSTGRES_POOLER: {
    means: 'The address leads to a connection pooler (PgBouncer, for instance), which refuses or drops the settings of a session; replication needs the server itself.',
    remedy: 'Use the address of the server, not of the pooler: usually the same host with port 5432.',
    retry: 'operator',
  },
  POSTGRES_STANDBY: {
    means: 'The server is a standby from which changes cannot be read: it is older than PostgreSQL 16, or its primary does not write logical WAL.',
    remedy: 'Use the address of the primary, or add `target_session_attrs=primary` and every host to the address.',
    retry: 'operator',
  },
  POSTGRES_WAL_LEVEL: {
    means: 'The server does not write the WAL that logical decoding needs.',
    remedy: '`ALTER SYSTEM SET wal_level = logical`, then restart the server.',
    retry: 'operator',
  },
  POSTGRES_PROTOCOL: {
    means: 'Bytes of the replication stream do not follow the protocol: a length, a kind or an order is wrong.',
    remedy: 'The connection is made anew from the last durable position. If it comes again, report it with the position.',
    retry: 'auto',
  },
  POSTGRES_IDENTITY: {
    means: 'A captured table has no usable replica identity: publishing it would make UPDATE and DELETE fail in the application.',
    remedy: 'Give the table a primary key, or `ALTER TABLE ... REPLICA IDENTITY FULL`, or leave it out with `!schema.table`.',
    retry: 'operator',
  },
  POSTGRES_COLUMN_RULE: {
    means: 'A column rule (exclude or hash) names a key column, or a column that does not exist, or there is no key to hash with.',
    remedy: 'Correct `columns` of the source; key columns can be neither left out nor hashed.',
    retry: 'operator',
  },
  POSTGRES_PUBLICATION: {
    means: 'The publication lacks something that an exact copy needs: an operation, a table, whole rows, or publishing by the partition root.',
    remedy: 'Run the statement that the message names, or let Tidemark make a publication of its own.',
    retry: 'operator',
  },
  POSTGRES_SLOT_MISSING: {
    means: 'The replication slot is gone although the log has a position in it: changes may have been missed since.',
    remedy: '`tidemark source resync NAME`: a `gap` is recorded, a new slot is made, and the tables are copied again.',
    retry: 'operator',
  },
  POSTGRES_SLOT_LOST: {
    means: 'The server has invalidated the replication slot: WAL that was still needed has been removed.',
    remedy: '`tidemark source resync NAME`: a `gap` is recorded and the tables are copied again. A larger `max_slot_wal_keep_size` avoids it.',
    retry: 'operator',
  },
  POSTGRES_SLOT_FOREIGN: {
    means: 'A replication slot of that name exists, but for another plugin or database, or it is physical or temporary.',
    remedy: 'Choose another name with `slot`, or drop the slot if nobody uses it.',
    retry: 'operator',
  },
  POSTGRES_SLOT_ACTIVE: {
    means: 'Another process is reading from the replication slot.',
    remedy: 'The connector tries again: a connection that was cut is freed after `wal_sender_timeout`. If another program uses the slot, stop it.',
    retry: 'auto',
  },
  POSTGRES_SLOT_AHEAD: {
    means: 'The slot has been moved past the position of the log (by another program, or the hub\'s folder is an old copy): the changes between are lost.',
    remedy: '`tidemark source resync NAME`: a `gap` is recorded and the tables are copied again. See to it that nothing else reads from the slot.',
    retry: 'operator',
  },
  POSTGRES_SLOT_LIMIT: {
    means: 'The server has no replication slot or WAL sender left.',
    remedy: 'Raise `max_replication_slots` and `max_wal_senders`, or drop slots that nobody uses.',
    retry: 'operator',
  },
  POSTGRES_SYSTEM_CHANGED: {
    means: 'The server is another database cluster than the one that the log was read from: the system identifier differs.',
    remedy: 'Check the address. If the cluster was replaced on purpose, `tidemark source resync NAME`: the tables are copied again.',
    retry: 'operator',
  },
  POSTGRES_TIMELINE_FORKED: {
    means: 'The server follows a timeline that branched off before the position of the log: the log has changes that this server never had.',
    remedy: '`tidemark source resync NAME` to go on with this server, or go back to the one that was followed before.',
    retry: 'operator',
  },
  POSTGRES_REGRESSED: {
    means: 'The server is behind the position of the log on the same timeline: it was restored to an earlier moment, or lost its last WAL.',
    remedy: '`tidemark source resync NAME`: a `gap` is recorded and the tables are copied again.',
    retry: 'operator',
  },
  POSTGRES_NO_HOST: {
    means: 'None of the hosts has the role that `target_session_attrs` asks for.',
    remedy: 'The connector tries again; check the hosts if it lasts.',
    retry: 'auto',
  },
  POSTGRES_ROW_TOO_LARGE: {
    means: 'A row is larger than the limit of a record.',
    remedy: 'Raise `max_row_size` or leave the column out, then re-copy the table.',
    retry: 'operator',
  },
  POSTGRES_TABLE_REWRITTEN: {
    means: 'The definition of a table was changed in a way that changes values without row events.',
    remedy: 'Nothing to do: the table is copied again.',
    retry: 'auto',
  },
  POSTGRES_COPY_MALFORMED: {
    means: 'Postgres sent something in a COPY that is not a row of the table as the catalog described it.',
    remedy: 'Report it with the table; `tidemark source recopy` copies the table again.',
    retry: 'auto',
  },
  POSTGRES_COPY_LOCKED: {
    means: 'A table could not be locked against rewriting (ACCESS SHARE) within the lock timeout: somebody holds or awaits an exclusive lock on it.',
    remedy: 'Nothing: the copy tries again by itself. If it goes on, look for a long ALTER TABLE, VACUUM FULL or LOCK in pg_locks.',
    retry: 'auto',
  },
  POSTGRES_COPY_FAILED: {
    means: 'Reading a table for its copy failed at the server.',
    remedy: 'Read the message: for a missing privilege run the GRANT that `tidemark check` prints. The copy tries again by itself.',
    retry: 'auto',
  },
} as const;
