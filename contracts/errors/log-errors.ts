/** Errors of the log engines. */
export const LOG_ERRORS = {
  LOG_UNKNOWN: {
    means: 'There is no log of that source in the data folder.',
    remedy: 'Check the source name and the data folder; `tidemark status` lists the sources.',
    retry: 'never',
  },
  LOG_CORRUPT: {
    means:
      'A file of the log does not hold what was written to it: a checksum, a length or an offset does not fit, below the ' +
      'highest offset that is known to be durable. Nothing was cut or changed.',
    remedy:
      '`tidemark log verify` names all damage. Stop the hub, check the disk, and put the files back with `tidemark restore ' +
      'BACKUPS --damaged --to DATA`. Without a backup: `tidemark source recopy SOURCE --past-damage` gives up what the log holds; ' +
      'the hub then copies every table again.',
    retry: 'operator',
  },
  LOG_NOT_DAMAGED: {
    means: 'The log was to be led past its damage, and every file of it is as it was written. Nothing was changed.',
    remedy: '`tidemark source resync SOURCE` copies every table again; a single one: `tidemark source recopy SOURCE TABLE`.',
    retry: 'never',
  },
  LOG_FORMAT: {
    means: 'A file of the log was written in a format that this version does not know.',
    remedy: 'Run the version of Tidemark that wrote it, or a newer one.',
    retry: 'never',
  },
  LOG_LOCKED: {
    means: 'Somebody else has the data folder, or this log, open for writing.',
    remedy: 'Stop the other hub, or give this one a data folder of its own.',
    retry: 'operator',
  },
  LOG_READ_ONLY: {
    means: 'The data folder was opened for reading only.',
    remedy: 'Ask the running hub, or start one, to change something.',
    retry: 'never',
  },
  LOG_WRITE_FAILED: {
    means:
      'The operating system could not write or sync a file of the log. The log has been cut to what is durable; nothing ' +
      'else was acknowledged to the source, which sends it again.',
    remedy: 'Look at the cause, and at the health of the disk. The hub opens the log again by itself.',
    retry: 'auto',
  },
  FOLDER_DENIED: {
    means: 'A folder that is to hold data or backups cannot be made, or not be written to: its permissions, a file in its path, or a disk that is read-only.',
    remedy: 'Give the user that runs the command the right to write there, or name another folder.',
    retry: 'operator',
  },
  LOG_READ_FAILED: {
    means: 'The operating system could not open or read a file of the log.',
    remedy: 'Look at the cause (a disk error, permissions, the limit of open files). The hub tries again by itself.',
    retry: 'auto',
  },
  LOG_DISK_FULL: {
    means: 'The disk that holds the data folder is full. The log stands at what is durable; the source keeps the rest.',
    remedy: 'Free space on that disk; the hub goes on by itself.',
    retry: 'auto',
  },
  LOG_CLOSED: {
    means: 'The log, or its writer, has been closed.',
    remedy: 'Nothing is lost; open it again.',
    retry: 'auto',
  },
  LOG_BATCH_INVALID: {
    means: 'A batch that was to be appended breaks a rule of the log: its transactions and records do not fit together.',
    remedy: 'Report it with the log line: the part that made the batch is at fault. Nothing of the batch was taken.',
    retry: 'never',
  },
  LOG_BELOW_HORIZON: {
    means: 'The offset asked for lies below the horizon: the history there has been folded into the base.',
    remedy: 'Ask for an offset at or above the horizon that the message names; a longer `hub.log.history` keeps more from then on.',
    retry: 'never',
  },
  LOG_TABLES: {
    means: 'Records of too many tables at once were asked for from below the horizon, where each table has its own.',
    remedy: 'Read fewer tables at a time, or from the horizon on.',
    retry: 'never',
  },
  LOG_DISK_LIMIT: {
    means:
      'The data folder has come near `hub.limits.disk`, or the disk near its end. Capture has stopped before a write could ' +
      'fail; what the log has is durable, the source holds the rest back.',
    remedy: 'Free space on that disk, raise `hub.limits.disk`, or keep less history (`hub.log`). The hub goes on by itself.',
    retry: 'auto',
  },
} as const;
