/** Errors of the MySQL and MariaDB connector. */
export const MYSQL_ERRORS = {
  MYSQL_URL: {
    means: 'The address of a MySQL or MariaDB server cannot be read.',
    remedy: 'Write it as `mysql://user:password@host:3306/database?ssl-mode=verify_identity`.',
    retry: 'operator',
  },
  MYSQL_UNREACHABLE: {
    means: 'The connection to the MySQL source could not be made, or was lost.',
    remedy: 'See that the server runs, and check host and port of the address. It is tried again by itself, and nothing is lost: the stream goes on from the last durable position.',
    retry: 'auto',
  },
  MYSQL_TLS: {
    means: 'The server does not offer TLS although `ssl-mode` asks for it, or its certificate is not accepted.',
    remedy: 'Check `ssl-mode`, `ssl-ca` and the host name in the address against the certificate of the server.',
    retry: 'operator',
  },
  MYSQL_ACCESS: {
    means: 'The server refuses the user, its password or a privilege that is needed.',
    remedy: 'Check user and password in the address; `tidemark check` prints the GRANT statements that are missing.',
    retry: 'operator',
  },
  MYSQL_QUERY: {
    means: 'The server answered a statement of the connector with an error.',
    remedy: 'The message is the server\'s. `tidemark check` looks for the usual causes.',
    retry: 'operator',
  },
  MYSQL_VERSION: {
    means: 'The server is older than MySQL 8.0 or MariaDB 10.6, or is neither.',
    remedy: 'Use MySQL 8.0 or newer, or MariaDB 10.6 or newer, as the source.',
    retry: 'operator',
  },
  MYSQL_PROTOCOL: {
    means: 'Bytes that the server sent do not follow the protocol: a length, a kind or an order is wrong.',
    remedy: 'The connection is made anew from the last durable position. If it comes again, report it with the position.',
    retry: 'auto',
  },
  MYSQL_BINLOG: {
    means: 'Bytes of a binary log event do not follow its format: a length or a kind is wrong.',
    remedy: 'The event is read again from the last durable position. If it comes again at the same position, the binary log is damaged or newer than Tidemark knows: report it with the position.',
    retry: 'auto',
  },
  MYSQL_CHECKSUM: {
    means: 'The checksum of a binary log event is not that of its bytes: it was damaged at the server or on its way.',
    remedy: 'The event is read again. If it comes again at the same position, the binary log is damaged: check it with `mysqlbinlog --verify-binlog-checksum`, then `tidemark source resync NAME`.',
    retry: 'auto',
  },
  MYSQL_EVENT_UNKNOWN: {
    means: 'The binary log has an event of a kind that is not known here and must not be passed over.',
    remedy: 'Update Tidemark, or turn the feature of the server off that writes it; then `tidemark source resync NAME` passes it over.',
    retry: 'operator',
  },
  MYSQL_BINLOG_PURGED: {
    means: 'The server has purged binary logs that the log still needs, or does not know the position.',
    remedy: '`tidemark source resync NAME`: a `gap` is recorded and the tables are copied again. A longer `binlog_expire_logs_seconds` avoids it.',
    retry: 'operator',
  },
  MYSQL_BINLOG_OFF: {
    means: 'The server does not write a binary log, or leaves changes of captured databases out of it (`binlog_do_db`, `binlog_ignore_db`, a replica without `log_replica_updates`).',
    remedy: 'Start it with `log_bin` and `binlog_format=ROW`, without those filters; a replica with `log_replica_updates=ON`.',
    retry: 'operator',
  },
  MYSQL_DUMP_REFUSED: {
    means: 'The server refuses to send its binary log from the position that was asked for.',
    remedy: 'Read the message, which is the server\'s; `tidemark check` looks for the usual causes.',
    retry: 'operator',
  },
  MYSQL_SERVER_ID: {
    means: 'Another replica of the server uses the same server id: the server cuts off one of the two again and again.',
    remedy: 'Choose another `server_id`, or leave it out: one that is free is picked then.',
    retry: 'operator',
  },
  MYSQL_VALUE: {
    means: 'A value in the binary log is not one of its column\'s type.',
    remedy: 'The table stops; report it with the position. `tidemark source recopy` copies the table again.',
    retry: 'operator',
  },
  MYSQL_TEXT: {
    means: 'A text at the MySQL source has bytes that mean no character in its charset, or no character of Unicode.',
    remedy: 'Correct the value (the server itself gives `?` for such bytes), then re-copy the table.',
    retry: 'operator',
  },
  MYSQL_ZERO_DATE: {
    means: 'A date at the MySQL source has a year, month or day of zero, or a day that its month has not, and `zero_dates` is `refuse`.',
    remedy: 'Correct the value, or set `zero_dates: keep`, which hands such dates on as they are. Then re-copy the table.',
    retry: 'operator',
  },
  MYSQL_TYPE_UNKNOWN: {
    means: 'A column at the MySQL source is of a type whose form in the binary log is not known, or not the one that the table\'s definition says.',
    remedy: 'Leave the column out, or update Tidemark; then re-copy the table. `tidemark check` names such columns.',
    retry: 'operator',
  },
  MYSQL_PARTIAL_ROW: {
    means: 'A row in the binary log lacks an old value that is needed: of a JSON column that was changed in part and that the log has hashed, of a table without key, or of any table of a MariaDB whose own `binlog_row_image` leaves columns out.',
    remedy: 'Set `binlog_row_image=FULL`, then `tidemark source recopy` the table.',
    retry: 'operator',
  },
  MYSQL_LOSSY_ROW: {
    means: 'A session of a MariaDB server has written a row without all of its columns (`SET SESSION binlog_row_image`), which may lack values that have changed: a REPLACE looks like an update.',
    remedy: 'The table is copied again by itself, each time that it happens. Let the session write whole rows (`binlog_row_image=FULL`).',
    retry: 'operator',
  },
  MYSQL_STATEMENT: {
    means: 'A statement in the binary log is not understood, and may have changed a captured table.',
    remedy: 'The tables that it names stop; `tidemark source recopy` copies them again. Report the statement, so that it is known.',
    retry: 'operator',
  },
  MYSQL_SHAPE: {
    means: 'A statement in the binary log does not fit the columns and keys that its table has as far as is known.',
    remedy: 'The table stops; `tidemark source recopy` reads its columns and keys from the server and copies it again.',
    retry: 'operator',
  },
  MYSQL_STATEMENT_ROWS: {
    means: 'The binary log has a statement in place of the rows that it changed in a captured table: a session or the server has `binlog_format` STATEMENT or MIXED, or a MEMORY table was emptied by a restart.',
    remedy: 'The table is copied again by itself. Set `binlog_format=ROW` for the server and for every session; what triggers of the statement changed in other tables is not told: copy those with `tidemark source recopy`.',
    retry: 'auto',
  },
  MYSQL_TABLE_REWRITTEN: {
    means: 'A statement changed rows of a captured table without an event for each: a change of type, a column with computed values, a partition dropped, truncated or exchanged.',
    remedy: 'The table is copied again by itself; until then it is not consistent from the offset named.',
    retry: 'auto',
  },
  MYSQL_ROW_TOO_LARGE: {
    means: 'A row is larger than the limit of a record.',
    remedy: 'Raise `max_row_size` or leave the column out, then re-copy the table.',
    retry: 'operator',
  },
  MYSQL_AUTH_PLUGIN: {
    means: 'The server wants a way of logging in that is not known here, or that is refused because it would send the password readable.',
    remedy: 'Use TLS (`ssl-mode=required`), or give the user another way: `ALTER USER ... IDENTIFIED WITH caching_sha2_password`; MariaDB: `mysql_native_password`.',
    retry: 'operator',
  },
  MYSQL_PROXY: {
    means: 'The address leads to a proxy (ProxySQL, MaxScale, for instance) that drops the settings of a session or shares sessions; a binary log is read from the server itself.',
    remedy: 'Use the address of the server, not of the proxy.',
    retry: 'operator',
  },
  MYSQL_GTID: {
    means: 'A set of global transaction ids cannot be read: its text or its bytes follow none of the forms of MySQL and MariaDB.',
    remedy: 'Write it as `uuid:1-77` (MySQL) or `0-1-77` (MariaDB). Where the server sent it, report it with the server\'s version.',
    retry: 'operator',
  },
  MYSQL_SERVER_CHANGED: {
    means: 'The server is another one than the log was read from, and there are no GTIDs by which the place could be found in its binary log.',
    remedy: 'Use the address of the server that the log was read from; or `tidemark source resync NAME`, which copies the tables again. With `gtid_mode=ON` a failover needs neither.',
    retry: 'operator',
  },
  MYSQL_GTIDS_OFF: {
    means: 'GTIDs were turned off at the server: it has transactions without one, and does not send them to who asks by GTIDs.',
    remedy: 'Nothing: the stream goes on by file and offset at once.',
    retry: 'auto',
  },
  MYSQL_GTID_MODE: {
    means: 'Behind the place of the log the binary log has transactions that the server sends to nobody under its `gtid_mode`: without a GTID under ON, with one under OFF. The mode was changed before the log had read them.',
    remedy: '`SET GLOBAL gtid_mode = ON_PERMISSIVE` (from OFF: `OFF_PERMISSIVE` first) until `tidemark status` shows that the log has come to the end, then go on. Or `tidemark source resync NAME`, which copies the tables again.',
    retry: 'operator',
  },
  MYSQL_DIVERGED: {
    means: 'The log has transactions that the server does not have: it is a replica that was behind when it took over, it was restored, or its binary log was reset.',
    remedy: 'Use the address of a server that has them; or `tidemark source resync NAME`: a `gap` is recorded and the tables are copied again.',
    retry: 'operator',
  },
  MYSQL_BINLOG_FORMAT: {
    means: 'The server writes statements into its binary log, not rows, or leaves databases out of it.',
    remedy: '`SET PERSIST binlog_format = ROW` (MariaDB: `SET GLOBAL`, and in my.cnf), then open the sessions of the application anew.',
    retry: 'operator',
  },
  MYSQL_INCIDENT: {
    means: 'The server has written into its binary log that changes may be missing from it: it failed while it wrote the log.',
    remedy: 'Nothing: every table is copied again by itself. Look into the error log of the server for the reason.',
    retry: 'operator',
  },
  MYSQL_XA_UNKNOWN: {
    means: 'An XA transaction was committed whose rows the log cannot have: it was prepared before the log began, or the binary log with its rows is purged.',
    remedy: 'Nothing: every table is copied again by itself. Finish prepared XA transactions (`XA RECOVER` lists them) before binary logs are purged.',
    retry: 'operator',
  },
  MYSQL_ROLLED_BACK: {
    means: 'A transaction in the binary log that is larger than a batch ends with a rollback, or goes back to a savepoint, as happens beside tables without transactions.',
    remedy: 'Nothing: it is read again at once, without what it takes back.',
    retry: 'auto',
  },
  MYSQL_ROW_IMAGE: {
    means: 'MariaDB writes minimal row images (`binlog_row_image=MINIMAL`), and with them a REPLACE without some of the values that it changes.',
    remedy: '`SET GLOBAL binlog_row_image = FULL` and the same line in my.cnf, then open the sessions of the application anew.',
    retry: 'operator',
  },
  MYSQL_CASCADE: {
    means: 'Foreign keys change rows of a captured table, which the server does not write into its binary log. Where such a key is added to a table that is captured already, the table stops there.',
    remedy: 'Drop the ON DELETE or ON UPDATE action of the foreign key and let the application do it, use MySQL 9.6 or newer with `innodb_native_foreign_keys=OFF`, leave the table out, or accept it by `accept_cascades`.',
    retry: 'operator',
  },
  MYSQL_ENGINE: {
    means: 'A table is kept by an engine whose rows come and go without the binary log (MEMORY, BLACKHOLE, FEDERATED, CONNECT and the like).',
    remedy: '`ALTER TABLE … ENGINE = InnoDB`, or leave the table out.',
    retry: 'operator',
  },
  MYSQL_COLUMN_RULE: {
    means: 'A column rule (exclude or hash) names a key column, or a column that does not exist, or there is no key to hash with.',
    remedy: 'Correct `columns` of the source; key columns can be neither left out nor hashed.',
    retry: 'operator',
  },
  MYSQL_COPY_LOCKED: {
    means: 'A table could not be read or locked for a copy within its short limit: somebody holds a lock on it, changes its definition, or has an open transaction that changed it.',
    remedy: 'It is tried again. Where it comes again and again, look for long transactions and statements: `SHOW PROCESSLIST`, `XA RECOVER`.',
    retry: 'auto',
  },
  MYSQL_COPY_PRIVILEGE: {
    means: 'Which changes the rows of a copy contain can be told only by locking the table for a moment, and the user may not: MySQL has GTIDs off, or the table has no key and its server never rests.',
    remedy: '`GRANT LOCK TABLES ON db.* TO user` (the lock lasts milliseconds); or turn GTIDs on (`gtid_mode=ON`), or give the table a primary key.',
    retry: 'operator',
  },
  MYSQL_COPY_CHANGING: {
    means: 'The definition of a table at the server is not the one that the stream has followed it to, or was changed while the table was read.',
    remedy: 'It is tried again when the stream has come past the change.',
    retry: 'auto',
  },
  MYSQL_COPY_UNVERSIONED: {
    means: 'A table without a key is kept by an engine that has no snapshots (MyISAM, Aria, MEMORY): its rows cannot be copied while they change.',
    remedy: 'Give the table a primary key, or `ALTER TABLE ... ENGINE=InnoDB`; or leave it out.',
    retry: 'operator',
  },
} as const;
