/** Errors of sinks. */
export const SINK_ERRORS = {
  SINK_UNREACHABLE: {
    means: 'The place that the sink writes to cannot be reached, or the connection to it was lost.',
    remedy: 'See that the server runs, and check host and port of the address. It is tried again by itself; the sink goes on from its checkpoint.',
    retry: 'auto',
  },
  SINK_FENCED: {
    means: 'Another hub has taken the sink over. This hub has stopped writing to it and has lost nothing.',
    remedy: 'Let one hub own the sink: remove it from the other, or stop the other and run `tidemark sink retry`.',
    retry: 'operator',
  },
  SINK_FOREIGN: {
    means: 'The checkpoint that stands at the sink belongs to another log.',
    remedy: 'Point the sink at a place of its own, or remove the other checkpoint there to have the sink rebuilt from this log.',
    retry: 'operator',
  },
  SINK_DATA: {
    means: 'The sink refuses this data as it is; trying again gives the same answer.',
    remedy: 'Correct the row at the source, or set `on_error: dead-letter` to put such records aside.',
    retry: 'never',
  },
  SINK_CHECKPOINT_MOVED: {
    means: 'The checkpoint at the sink is not where this hub left it: the sink went back (failover, restore) or was emptied.',
    remedy: 'The sink is opened again by itself: it goes on from the checkpoint that is there, or is rebuilt when there is none.',
    retry: 'auto',
  },
  REBUILD_MOVED: {
    means: 'A checkpoint of the sink, or of the shadow that is to take its place, is not where the rebuild left it: another hub has applied to it, or it was removed.',
    remedy: 'Nothing was swapped. Start the rebuild again with `tidemark rebuild`, from one hub.',
    retry: 'operator',
  },
  REBUILD_IN_THE_WAY: {
    means: 'What was rebuilt cannot take the place of what is at the sink: objects that depend on its tables, rows that break a rule which was added there, or keys of somebody else in its database are in the way.',
    remedy: 'Drop what is named, and create it again after the rebuild; move keys of others to another database. The sink is as it was.',
    retry: 'operator',
  },
  REDIS_FULL: {
    means: 'Redis is at its memory limit (`maxmemory`) and refuses writes. What is there stays correct; nothing new arrives.',
    remedy: 'Raise `maxmemory`, or mirror fewer tables or columns. The sink goes on by itself when there is room.',
    retry: 'auto',
  },
  REDIS_UNAVAILABLE: {
    means: 'Redis answers but takes no writes now: it is loading, a read-only replica, without its replicas, or its cluster is down.',
    remedy: 'It is tried again by itself. If it lasts, look at the role and state of the server that is named.',
    retry: 'auto',
  },
  REDIS_DENIED: {
    means: 'Redis refuses the credentials, or the user may not run a command that the sink needs.',
    remedy: 'Correct user and password in `url`, or grant the user the commands and keys that docs/sink-redis.md lists.',
    retry: 'operator',
  },
  REDIS_SERVER: {
    means: 'The server is not the kind that the configuration says: cluster mode, version, role or a module differ.',
    remedy: 'Correct `cluster`, `primary` or `url` of the sink; `tidemark check` names what was found.',
    retry: 'operator',
  },
  REDIS_PROTOCOL: {
    means: 'What the server sent is not an answer in the Redis protocol.',
    remedy: 'Check that the address is that of a Redis server and that `rediss://` is used exactly when it speaks TLS.',
    retry: 'auto',
  },
  REDIS_KEY_TEMPLATE: {
    means: 'The key template of a table cannot name its rows: it is not well formed, or its placeholders are not the key columns.',
    remedy: 'Write a template that begins with a text of its own and has every key column in it, such as `product:{id}`.',
    retry: 'operator',
  },
  REDIS_KEY_OVERLAP: {
    means: 'Two tables, or a table and the own keys of a sink, could write the same Redis key.',
    remedy: 'Give each table a key template that begins differently.',
    retry: 'operator',
  },
  REDIS_KEY_TYPE: {
    means: 'A Redis key that a row belongs in holds a value of another type, written by somebody else.',
    remedy: 'Remove that key, or choose a key template that nothing else uses.',
    retry: 'operator',
  },
  REDIS_COLUMNS: {
    means: 'The columns chosen for a table are not there, or two of them have the same name in Redis.',
    remedy: 'Correct `columns` of the table.',
    retry: 'operator',
  },
  REDIS_KEYLESS: {
    means: 'A table without a key cannot be kept in Redis: its rows have nothing to be found by.',
    remedy: 'Add a primary key at the source, or leave the table out with `!schema.table`.',
    retry: 'operator',
  },
  REPLICA_BUSY: {
    means: 'The replica answered with a lock timeout, a deadlock or a serialization failure: somebody else uses the tables.',
    remedy: 'It is tried again by itself. If it lasts, end the session that the message or `pg_blocking_pids` names.',
    retry: 'auto',
  },
  REPLICA_FULL: {
    means: 'The replica is out of a resource: disk, memory, connections or locks.',
    remedy: 'Make room on the replica; the sink goes on by itself.',
    retry: 'auto',
  },
  REPLICA_DENIED: {
    means: 'The role of the sink may not do what it must at the replica, its login is refused, or there is no such database.',
    remedy: 'Check user, password and name of the database in the address. A privilege that the message names has to be granted: `tidemark check` prints the statements.',
    retry: 'operator',
  },
  REPLICA_POOLED: {
    means:
      'The address is that of a connection pooler that takes a process of the server for each transaction (PgBouncer with `pool_mode = transaction` or `statement`). ' +
      'What the sink sets for its session (no triggers, canonical text, the lock that marks it) would be lost, and reach other clients.',
    remedy: 'Give the sink the address of the server itself, or of a database of the pooler that has `pool_mode = session`.',
    retry: 'operator',
  },
  REPLICA_SHAPE: {
    means: 'A table at the replica does not have the shape that the log says: a column is missing or cannot take the values.',
    remedy: 'Make the table fit with the statements that `tidemark check` prints, or drop it to have it made anew.',
    retry: 'operator',
  },
  REPLICA_TABLE_TAKEN: {
    means: 'A table of that name exists at the replica, holds rows, and was not made or filled by this sink.',
    remedy: 'Empty or rename the table, or map the source table to another name with `tables` or `schemas` of the sink.',
    retry: 'operator',
  },
  REPLICA_TYPE: {
    means: 'A column has a type that the replica does not know and that cannot be created from the log (most often of an extension).',
    remedy: 'Create the extension or the type at the replica, then run `tidemark sink retry`.',
    retry: 'operator',
  },
  REPLICA_NAMES: {
    means: 'Two tables, or two columns of a table, would have one and the same name at the replica: it folds case, or both are mapped to it.',
    remedy: 'Give one of the tables another name with `as`; rename a column, or leave it out at the source with `columns`.',
    retry: 'operator',
  },
  REPLICA_STATEMENT: {
    means: 'The replica refused a statement of the sink for a reason that is neither the data nor a passing one.',
    remedy: 'Read the message of the server; run `tidemark check`, and report it when the replica is as it should be.',
    retry: 'operator',
  },
} as const;
