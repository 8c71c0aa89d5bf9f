/** Errors of backups and of what is restored from them. */
export const BACKUP_ERRORS = {
  BACKUP_FOLDER: {
    means: 'The folder named for backups holds something else, or backups of a format that this version does not know.',
    remedy: 'Name an empty folder, or one that `tidemark backup` has made; for a newer format use the version that wrote it.',
    retry: 'operator',
  },
  BACKUP_UNKNOWN: {
    means: 'There is no complete backup of that name in the folder.',
    remedy: '`tidemark restore FOLDER --list` names the backups that are there.',
    retry: 'operator',
  },
  BACKUP_DAMAGED: {
    means: 'A file of a backup is missing, or does not hold what was written to it.',
    remedy: 'Take another backup of the same folder (`--backup NAME`), or a copy of the folder. Files that backups share are damaged in all of them.',
    retry: 'operator',
  },
  BACKUP_OF_DAMAGE: {
    means: 'A file of the log that was to be backed up is damaged. Nothing was added; the backups that are there are as they were.',
    remedy: 'Mend it first: `tidemark log verify` names all damage and what to do.',
    retry: 'operator',
  },
  RESTORE_NOT_EMPTY: {
    means: 'The folder that a backup was to be restored to is not empty. Nothing was changed.',
    remedy: 'Name a folder that is empty or not there yet.',
    retry: 'operator',
  },
  RESTORE_UNFINISHED: {
    means: 'The data folder is one that a restore was writing when it ended.',
    remedy: 'Empty the folder and restore again.',
    retry: 'operator',
  },
} as const;
