/** A row of a source: table id (u32, big-endian) and key; ordered by table, then by key. */
export type RowId = Buffer;

const TABLE_BYTES = 4;

export function rowId(tableId: number, key: Uint8Array): RowId {
  const id = Buffer.allocUnsafe(TABLE_BYTES + key.length);
  id.writeUInt32BE(tableId, 0);
  id.set(key, TABLE_BYTES);
  return id;
}

/** The same row as a name for maps. */
export function rowName(id: RowId): string {
  return id.toString('latin1');
}

export function rowIdOfName(name: string): RowId {
  return Buffer.from(name, 'latin1');
}

export function tableOf(id: RowId): number {
  return id.readUInt32BE(0);
}

export function keyOf(id: RowId): Buffer {
  return id.subarray(TABLE_BYTES);
}
