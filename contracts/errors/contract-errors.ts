/** Errors of the words themselves: offsets, positions, records, images, schemas. */
export const CONTRACT_ERRORS = {
  OFFSET_RANGE: {
    means: 'A number that is not an offset (an integer from 0 to 2^53 - 1) was given or read.',
    remedy: 'Give an offset as printed by `tidemark status`.',
    retry: 'never',
  },
  POSITION_FOREIGN: {
    means: 'Two source positions of different systems were compared.',
    remedy: 'Check that the source still is the database it was; `tidemark check` names the system identifiers.',
    retry: 'operator',
  },
  POSITION_SYNTAX: {
    means: 'A source position could not be read.',
    remedy: 'Give an offset such as `120345`, or a position as the source prints it, such as `lsn:0/16B3748` or `gtid:UUID:1-77`.',
    retry: 'never',
  },
  RECORD_CORRUPT: {
    means: 'Bytes that should be a record, an image or a batch are not: lengths, kinds or checksums do not fit.',
    remedy: 'The part that reads them has stopped. Report it with the offset; restore from a copy or re-copy the table.',
    retry: 'never',
  },
  SCHEMA_INVALID: {
    means: 'A schema record or a schema description is not well formed.',
    remedy: 'Report it with the table and offset; re-copy the table.',
    retry: 'never',
  },
  COPY_VOID: {
    means: 'The parts of a table that were copied so far do not belong together any more: it was rewritten, truncated or re-partitioned meanwhile.',
    remedy: 'Nothing: the copy of the table begins anew by itself.',
    retry: 'auto',
  },
  VERIFY_TABLE: {
    means: 'A table cannot be compared: it is not there, or not in the shape that the log says, or is being changed at this moment.',
    remedy: 'It is tried again by itself while something is changing it; otherwise the message says what differs. `tidemark check` looks at the same tables.',
    retry: 'auto',
  },
  ABORTED: {
    means: 'The work was asked to stop.',
    remedy: 'Nothing is lost; start it again.',
    retry: 'auto',
  },
  INTERNAL: {
    means: 'An assertion of Tidemark itself failed.',
    remedy: 'Report it with the log line. Nothing that was not durable has been acknowledged.',
    retry: 'never',
  },
} as const;
