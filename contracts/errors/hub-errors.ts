/** Errors of the hub: configuration, CLI, API, pipelines. */
export const HUB_ERRORS = {
  NODE_VERSION: {
    means: 'The command was started by a Node.js that is older than what Tidemark is written for.',
    remedy: 'Install Node.js 24 or newer, or run `npm install node@24` beside Tidemark and start it by `npx tidemark`.',
    retry: 'operator',
  },
  CONFIG_NOT_FOUND: {
    means: 'The configuration file does not exist or cannot be read.',
    remedy: 'Name it with `--config FILE`, or write one with `tidemark init URL`.',
    retry: 'operator',
  },
  CONFIG_SYNTAX: {
    means: 'The configuration file is not well-formed YAML.',
    remedy: 'Mend the line that is named; indentation and quotes are the usual causes.',
    retry: 'operator',
  },
  CONFIG_UNKNOWN_KEY: {
    means: 'The configuration has a key that nothing reads.',
    remedy: 'Correct its spelling or remove it; `tidemark schema` prints every key there is.',
    retry: 'operator',
  },
  CONFIG_MISSING_KEY: {
    means: 'The configuration lacks a key that is needed.',
    remedy: 'Add it at the line that is named; docs/configuration.md describes every key.',
    retry: 'operator',
  },
  CONFIG_VALUE: {
    means: 'A value in the configuration has the wrong type, is out of range or is not one of the known ones.',
    remedy: 'Correct the value at the line that is named; docs/configuration.md describes every key.',
    retry: 'operator',
  },
  CONFIG_SECRET: {
    means: 'A `${...}` in the configuration cannot be resolved: the environment variable is not set, or the file cannot be read.',
    remedy: 'Set the variable, give a default with `${NAME:-default}`, or mend the path of the file.',
    retry: 'operator',
  },
  CONFIG_ADDRESS: {
    means: 'The address of the HTTP API is not a loopback address. Until the API has tokens, whoever reaches it rules the hub.',
    remedy: 'Use `127.0.0.1:PORT` or `[::1]:PORT`, and a tunnel or a reverse proxy with authentication for the outside.',
    retry: 'operator',
  },
  CONFIG_TABLE_PATTERN: {
    means: 'A table pattern cannot be read.',
    remedy: 'Write `schema.table`: each part a name, in double quotes where it has other signs; where several tables may be meant a glob, or with `!` in front what is left out.',
    retry: 'operator',
  },
  CONFIG_REFERENCE: {
    means: 'The configuration names a source or a module that does not exist.',
    remedy: 'Correct the name at the line that is named.',
    retry: 'operator',
  },
  USAGE: {
    means: 'The command line cannot be understood.',
    remedy: 'See `tidemark help` and `tidemark help COMMAND`.',
    retry: 'operator',
  },
  SOURCE_UNKNOWN: {
    means: 'There is no source of that name.',
    remedy: '`tidemark status` lists the sources.',
    retry: 'operator',
  },
  SINK_UNKNOWN: {
    means: 'There is no sink of that name.',
    remedy: '`tidemark status` lists the sinks.',
    retry: 'operator',
  },
  MOMENT_SYNTAX: {
    means: 'A place in the log was named in a way that is not known.',
    remedy: 'Name an offset, a time with its zone (2026-11-01T12:00Z, or -2h), a position of the source (lsn:0/16B3748, gtid:SET or binlog:FILE:OFFSET), begin, horizon or end.',
    retry: 'never',
  },
  MOMENT_KEY: {
    means: 'The columns and values that were to name a row do not fit the table.',
    remedy: 'Name each column of the key as COLUMN=VALUE, the value as `tidemark read` prints it; of a key of one column the value alone will do.',
    retry: 'never',
  },
  MOMENT_VALUE: {
    means: 'A value does not fit the type that the format has for its column, such as an infinite date in Parquet. Nothing is rounded or left out for that.',
    remedy: 'Give every column as its canonical text with `--as-text`, or choose `--format csv` or `ndjson`.',
    retry: 'never',
  },
  TABLE_UNKNOWN: {
    means: 'The source has no table of that name, or the configuration does not select it.',
    remedy: '`tidemark tables` lists the tables; names are written `schema.table`.',
    retry: 'operator',
  },
  WAIT_TIMEOUT: {
    means: 'The sink did not reach the offset or position in the given time.',
    remedy: 'Look at the lag and the state of the sink in `tidemark status`, and wait longer with `--timeout`.',
    retry: 'operator',
  },
  API_REQUEST: {
    means: 'A request to the API of the hub is malformed, or comes from where it may not come from.',
    remedy: 'See docs/cli.md, "HTTP API".',
    retry: 'never',
  },
  API_BUSY: {
    means: 'The hub already puts together as many tables of other moments, and differences between moments, as it does at once.',
    remedy: 'Ask again when one of them has ended; each takes memory and disk of the hub.',
    retry: 'auto',
  },
  API_UNREACHABLE: {
    means: 'No hub answers where one was looked for.',
    remedy: 'Start it with `tidemark run`, or name its folder with `--data` or its address with `--http`.',
    retry: 'auto',
  },
  API_ANSWER: {
    means: 'The hub answered in a way that this version of the command line does not understand.',
    remedy: 'Use the same version of `tidemark` for the hub and the command line.',
    retry: 'never',
  },
  API_LISTEN: {
    means: 'The API cannot listen on its socket or address.',
    remedy: 'Choose another `hub.http`, or end what listens there.',
    retry: 'operator',
  },
  WHOLE_ROW_MISSING: {
    means: 'The source left out columns that did not change, and the log has no earlier image of that row to fill them in from. The table has stopped and is copied again; its rows that cannot be made whole are not given to any sink.',
    remedy: 'Nothing to do: the table is copied again, once after REPLICA IDENTITY FULL was taken back, for instance. REPLICA IDENTITY FULL on the table (MySQL: `binlog_row_image=FULL` for the server and every session) avoids the look-up altogether.',
    retry: 'operator',
  },
  WHOLE_ROW_PART: {
    means: 'The source sent a change of part of a JSON value (MySQL: `binlog_row_value_options=PARTIAL_JSON` without whole old rows) that does not fit the value that the log has: the log and the source differ in that row, or have.',
    remedy: '`tidemark verify` shows what else differs, `tidemark source recopy` copies the table again. Look for changes that were kept out of the binlog (`sql_log_bin=0`, cascades of foreign keys).',
    retry: 'operator',
  },
  WHOLE_ROWS_AGAIN: {
    means: 'The first row of a table that comes without some of its columns stands in a transaction that is larger than a batch, of which the log cannot be read before it ends.',
    remedy: 'Nothing: the transaction is read again from its beginning at once, and its rows are followed this time.',
    retry: 'auto',
  },
  WHOLE_ROW_INDEX: {
    means: 'The local index of large rows cannot be read or written.',
    remedy: 'Free disk space or mend the permissions of the data folder. The index may be deleted while the hub is stopped: it is built again from the log.',
    retry: 'auto',
  },
  COPY_SUPERSEDED: {
    means: 'A copy was given up because the table it copied was stopped, removed or begun anew meanwhile.',
    remedy: 'Nothing: the table is copied again if its state asks for it.',
    retry: 'auto',
  },
  SINK_DIVERGED: {
    means: 'The checkpoint at the sink is of a state that this log never had: the hub\'s folder was restored from an older copy, or lost.',
    remedy: 'The sink cannot go on from there. `tidemark rebuild NAME` fills it again from the log, beside what is there; `when_behind: rebuild` has that done by itself.',
    retry: 'operator',
  },
  VERIFY_RUNNING: {
    means: 'The sink is being verified already.',
    remedy: 'Wait for its end, or end it: it stops when the command that began it does.',
    retry: 'operator',
  },
  VERIFY_SINK: {
    means: 'The sink cannot be verified or repaired as it is: it stands at no offset of this log, is being filled or rebuilt, cannot be read back, or nothing may be applied to it.',
    remedy: 'Let it be filled or rebuilt first (`tidemark status` shows how far it is), or resume it.',
    retry: 'operator',
  },
  VERIFY_SOURCE: {
    means: 'The source cannot be read to be compared with the log.',
    remedy: 'Compare the log with the sink alone: `tidemark verify SINK --against log`.',
    retry: 'operator',
  },
  SINK_BEHIND: {
    means: 'The sink stands below the horizon of the log: the history that it needs next has been folded into the base.',
    remedy: '`tidemark rebuild NAME` fills it again from the log, beside what is there; `when_behind: rebuild` has that done by itself.',
    retry: 'operator',
  },
  RETAINED_WAL: {
    means: 'The source holds back more WAL for this hub than `hub.limits.retainedWal` allows, and the source has been stopped as configured.',
    remedy: 'Find what keeps the hub behind (`tidemark status`), raise the limit, or drop the slot at the source; then restart the source with `tidemark reload`.',
    retry: 'operator',
  },
  DEAD_LETTERS_FILE: {
    means: 'The file that holds the dead letters of a sink cannot be read.',
    remedy: 'Move the file away: the rows it named are then not retried. Re-copy the tables of the sink that have wrong rows.',
    retry: 'operator',
  },
  DEAD_LETTERS_FULL: {
    means: 'A sink refuses so many rows that the fault is not in single rows. It has stopped.',
    remedy: 'Mend the tables at the sink (`tidemark check` compares their shape), then `tidemark sink retry NAME`.',
    retry: 'operator',
  },
  DEAD_LETTER_IMPOSSIBLE: {
    means: 'A sink refuses data that cannot be put aside as single rows: of a table without a key, a change of schema, or rows that it takes one by one and refuses together.',
    remedy: 'Mend what the message names at the source or at the sink, then `tidemark sink retry NAME`.',
    retry: 'operator',
  },
  SINK_TABLES_FILE: {
    means: 'The file in which the hub notes what tables a sink has been given cannot be read.',
    remedy: 'Move the file away; the hub then takes it that the sink has every table that the configuration selects.',
    retry: 'operator',
  },
  SINK_PAUSED: {
    means: 'The sink is paused: it does not come to what is waited for before it is resumed.',
    remedy: 'Let it go on: `tidemark sink resume NAME`.',
    retry: 'operator',
  },
  SINK_PAUSE_FILE: {
    means: 'The file in which the hub notes that a sink is paused cannot be read.',
    remedy: 'Move the file away; the sink then goes on. Pause it again with `tidemark sink pause NAME` if it should not.',
    retry: 'operator',
  },
  REBUILD_FILE: {
    means: 'The file in which the hub notes the rebuild of a sink cannot be read.',
    remedy: 'Move the file away; the rebuild is forgotten, the sink goes on. Start it again with `tidemark rebuild NAME`, which removes what the earlier one has left.',
    retry: 'operator',
  },
  REBUILD_KIND: {
    means: 'A sink of this kind is not rebuilt: it keeps every change, does something for each of them, or has no way to take on a copy.',
    remedy: 'Rebuild sinks that hold state. For this one, begin with a new sink of another name.',
    retry: 'never',
  },
  REBUILD_UNDER_WAY: {
    means: 'A rebuild of this sink is under way already, and asks for something else.',
    remedy: 'Wait for it (`tidemark status`), or end it with `tidemark rebuild NAME --cancel`.',
    retry: 'operator',
  },
  REBUILD_NONE: {
    means: 'There is no rebuild of this sink.',
    remedy: 'Start one with `tidemark rebuild NAME`.',
    retry: 'never',
  },
  REBUILD_TABLES: {
    means: 'Single tables of this sink cannot be rebuilt as asked: they join the others at the sink\'s own checkpoint, where the sink must stand, and only where it has a way to put them in place.',
    remedy: 'Rebuild the whole sink: leave `--tables` out.',
    retry: 'never',
  },
} as const;
