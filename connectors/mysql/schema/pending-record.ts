import { encodeControl, type Control } from '../../../contracts/control.ts';
import { Op } from '../../../contracts/op.ts';
import { encodeSchema, type TableSchema } from '../../../contracts/schema.ts';

/** A record that is to be written where it was asked for, in order, before any row that follows. */
export interface PendingRecord {
  readonly op: typeof Op.schema | typeof Op.control | typeof Op.truncate;
  readonly tableId: number;
  /** 0 in control records. */
  readonly version: number;
  /** The after image; empty in a truncate record. */
  readonly payload: Buffer;
}

const NOTHING = Buffer.alloc(0);

export function schemaRecord(schema: TableSchema): PendingRecord {
  return { op: Op.schema, tableId: schema.tableId, version: schema.version, payload: encodeSchema(schema) };
}

export function controlRecord(tableId: number, control: Control): PendingRecord {
  return { op: Op.control, tableId, version: 0, payload: encodeControl(control) };
}

export function truncateRecord({ tableId, version }: TableSchema): PendingRecord {
  return { op: Op.truncate, tableId, version, payload: NOTHING };
}
