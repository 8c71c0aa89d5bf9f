import type { CellWriter } from './cell-writer.ts';
import type { ValueForm } from './value-form.ts';

/**
 * Writes the values of one column of a table map as canonical cells. Chosen once per table map, by the column's type
 * byte, metadata and optional metadata; called once per value that is not null.
 */
export interface ColumnDecoder {
  /**
   * Reads the value that begins at byte `at`, writes exactly one cell, and answers where the value ends. The value lies
   * whole in `bytes`: the caller has checked its fixed width, or its length prefix and the bytes behind it
   * (`valueEnd` of binlog/value-width.ts). What is inside a value (JSON, geometry, charset) the decoder checks itself.
   * `bytes` is the buffer of the socket: nothing of it may be kept after the call.
   * @throws TidemarkError `MYSQL_VALUE` when the bytes are no value of the column's type
   */
  decode(bytes: Buffer, at: number, out: CellWriter): number;
  /** What the values are, where a writer of rows can do without calling. Absent: it cannot. */
  readonly form?: ValueForm;
  /** Of decimals: writes the value's text into `into` from `to` on, `form.most` bytes at most, and answers where it ends. */
  write?(bytes: Uint8Array, at: number, into: Uint8Array, to: number): number;
  /**
   * JSON columns only, of a PARTIAL_UPDATE_ROWS event: applies the diffs `bytes[at .. end)` (without their u32 length) to
   * the old value in binary form, `old[oldAt .. oldEnd)` (without its length prefix), and writes the new value as one cell.
   * @throws TidemarkError `MYSQL_VALUE`
   */
  patch?(bytes: Buffer, at: number, end: number, old: Buffer, oldAt: number, oldEnd: number, out: CellWriter): void;
  /**
   * JSON columns whose values are in the log as they are: writes the diffs as one cell of kind 'p', where the event has not the
   * old value. Absent: they would mean nothing for what the log has. @throws TidemarkError `MYSQL_VALUE`
   */
  part?(bytes: Buffer, at: number, end: number, out: CellWriter): void;
}
