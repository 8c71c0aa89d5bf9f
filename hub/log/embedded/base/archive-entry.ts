/**
 * An entry of an archive run. All integers big-endian. Table id 0: control records that concern every table.
 *
 *     (table id, offset u64, 0)  ->  the transaction of the table's records from that offset on
 *     (table id, offset u64, 1)  ->  the record with that offset
 *
 *     transaction    0 u8 1 for one of the hub, 1 u8 0, 2 u16 bytes of the origin, 4 i64 xid, 12 i64 commit time,
 *                   20 u32 bytes of the position, 24 position, origin
 *     record         0 u64 offset at which its transaction stands, 8 the record
 */
import type { Offset } from '../../../../contracts/offset.ts';
import { RECORD_HEADER } from '../../../../contracts/record.ts';
import type { TransactionEntry } from '../../../../contracts/transaction.ts';
import { readI64, readU64, writeI64, writeU64 } from '../bytes.ts';
import { corruptRun, type EntrySpan } from '../runs/run-format.ts';

const ARCHIVE_KEY = 9;
const OF_TRANSACTION = 0;
const OF_RECORD = 1;
const TRANSACTION_HEADER = 24;
const PAYLOAD = 8;

/** What an archive knows of a transaction. */
export type ArchivedTransaction = Pick<TransactionEntry, 'kind' | 'xid' | 'commitTime' | 'position' | 'origin'>;

export function transactionKey(offset: Offset): Buffer {
  return keyOf(offset, OF_TRANSACTION);
}

export function recordKey(offset: Offset): Buffer {
  return keyOf(offset, OF_RECORD);
}

function keyOf(offset: Offset, kind: number): Buffer {
  const key = Buffer.allocUnsafe(ARCHIVE_KEY);
  key[writeU64(key, offset, 0)] = kind;
  return key;
}

export function transactionValue({ kind, xid, commitTime, position, origin }: ArchivedTransaction): Buffer {
  const name = Buffer.from(origin, 'utf8');
  const value = Buffer.alloc(TRANSACTION_HEADER + position.length + name.length);
  value[0] = kind === 'hub' ? 1 : 0;
  value.writeUInt16BE(name.length, 2);
  writeI64(value, xid, 4);
  writeI64(value, commitTime, 12);
  value.writeUInt32BE(position.length, 20);
  value.set(position, TRANSACTION_HEADER);
  value.set(name, TRANSACTION_HEADER + position.length);
  return value;
}

/** @throws TidemarkError `LOG_CORRUPT` */
export function readTransaction(bytes: Buffer, start: number, end: number): ArchivedTransaction {
  if (end - start < TRANSACTION_HEADER) throw corruptRun('a transaction of the archive is cut short', '');
  const positionEnd = start + TRANSACTION_HEADER + bytes.readUInt32BE(start + 20);
  if (positionEnd + bytes.readUInt16BE(start + 2) !== end) throw corruptRun('a transaction of the archive has another length than it says', '');
  return {
    kind: bytes[start] === 1 ? 'hub' : 'source',
    xid: readI64(bytes, start + 4),
    commitTime: readI64(bytes, start + 12),
    position: Buffer.from(bytes.subarray(start + TRANSACTION_HEADER, positionEnd)),
    origin: bytes.toString('utf8', positionEnd, end),
  };
}

/** @param into at least 8 bytes longer than the record; answers the length */
export function writeRecordValue(into: Buffer, transactionAt: Offset, record: Uint8Array): number {
  writeU64(into, transactionAt, 0);
  into.set(record, PAYLOAD);
  return PAYLOAD + record.length;
}

/** The fields of the entry under a cursor. */
export interface ArchiveEntry {
  readonly offset: Offset;
  readonly isRecord: boolean;
}

/** @throws TidemarkError `LOG_CORRUPT` for an entry that no version of this format writes */
export function archiveEntry({ bytes, keyStart, keyEnd, valueEnd }: EntrySpan): ArchiveEntry {
  const kind = bytes[keyEnd - 1];
  if (keyEnd - keyStart !== ARCHIVE_KEY || (kind !== OF_RECORD && kind !== OF_TRANSACTION)) throw corruptRun('an entry of the archive has a key that is not one', '');
  if (kind === OF_RECORD && valueEnd - keyEnd < PAYLOAD + RECORD_HEADER) throw corruptRun('a record of the archive is cut short', '');
  return { offset: readU64(bytes, keyStart), isRecord: kind === OF_RECORD };
}

/** Of a record's entry: where its transaction stands. */
export function transactionAt({ bytes, keyEnd }: EntrySpan): Offset {
  return readU64(bytes, keyEnd);
}

/** Of a record's entry: the record, not copied. */
export function archivedRecord({ bytes, keyEnd, valueEnd }: EntrySpan): Buffer {
  return bytes.subarray(keyEnd + PAYLOAD, valueEnd);
}
