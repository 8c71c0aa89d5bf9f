/** Type bytes of events, MySQL's and MariaDB's. */
export const EventType = {
  startV3: 1,
  query: 2,
  stop: 3,
  rotate: 4,
  intvar: 5,
  appendBlock: 9,
  deleteFile: 11,
  rand: 13,
  userVar: 14,
  formatDescription: 15,
  xid: 16,
  beginLoadQuery: 17,
  executeLoadQuery: 18,
  tableMap: 19,
  writeRowsV1: 23,
  updateRowsV1: 24,
  deleteRowsV1: 25,
  incident: 26,
  heartbeat: 27,
  ignorable: 28,
  rowsQuery: 29,
  writeRows: 30,
  updateRows: 31,
  deleteRows: 32,
  gtid: 33,
  anonymousGtid: 34,
  previousGtids: 35,
  transactionContext: 36,
  viewChange: 37,
  xaPrepare: 38,
  partialUpdateRows: 39,
  transactionPayload: 40,
  heartbeatV2: 41,
  taggedGtid: 42,
  annotateRows: 160,
  binlogCheckpoint: 161,
  mariadbGtid: 162,
  mariadbGtidList: 163,
  startEncryption: 164,
  queryCompressed: 165,
  writeRowsCompressedV1: 166,
  updateRowsCompressedV1: 167,
  deleteRowsCompressedV1: 168,
  writeRowsCompressed: 169,
  updateRowsCompressed: 170,
  deleteRowsCompressed: 171,
} as const;

const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(EventType).map(([name, type]) => [type, name]));

/** For people: `tableMap`, or `kind 200` of one that is not known. */
export function eventName(type: number): string {
  return NAMES.get(type) ?? `kind ${type}`;
}

/** What a rows event does. */
export type RowsKind = 'write' | 'update' | 'delete';

export interface RowsShape {
  readonly kind: RowsKind;
  /** 2: with room for extra data. */
  readonly version: 1 | 2;
  /** MariaDB: what follows the bitmaps is compressed. */
  readonly compressed: boolean;
  /** JSON columns of after images may be diffs. */
  readonly partial: boolean;
}

const SHAPES: readonly (RowsShape | undefined)[] = shapes();

/** Null for an event that has no rows. */
export function rowsShape(type: number): RowsShape | null {
  return SHAPES[type] ?? null;
}

function shapes(): (RowsShape | undefined)[] {
  const table: (RowsShape | undefined)[] = [];
  const kinds = ['write', 'update', 'delete'] as const;
  for (const [index, kind] of kinds.entries()) {
    table[EventType.writeRowsV1 + index] = { kind, version: 1, compressed: false, partial: false };
    table[EventType.writeRows + index] = { kind, version: 2, compressed: false, partial: false };
    table[EventType.writeRowsCompressedV1 + index] = { kind, version: 1, compressed: true, partial: false };
    table[EventType.writeRowsCompressed + index] = { kind, version: 2, compressed: true, partial: false };
  }
  table[EventType.partialUpdateRows] = { kind: 'update', version: 2, compressed: false, partial: true };
  return table;
}
