/**
 * Frontend messages of the Postgres protocol, as chunks of bytes: a parameter of megabytes is sent where it lies, never
 * copied into a message. A pipeline is many of them before one Sync.
 */

export const TEXT_OID = 25;
export const BYTEA_OID = 17;

/** A parameter of a Bind: the value's bytes in one or more pieces, null for SQL NULL. */
export interface Parameter {
  readonly format: 'text' | 'binary';
  readonly pieces: readonly Uint8Array[] | null;
}

const CODE = { parse: 0x50, bind: 0x42, execute: 0x45, sync: 0x53, close: 0x43, copyData: 0x64, copyDone: 0x63 } as const;

/** Largest CopyData message: the server reads one at a time. */
const COPY_PIECE = 1 << 18;

export function textParameter(value: string | null): Parameter {
  return { format: 'text', pieces: value === null ? null : [Buffer.from(value, 'utf8')] };
}

/** Parameter types are inferred: the statement casts each of its parameters. */
export function parseMessage(name: string, sql: string): Buffer {
  const nameBytes = Buffer.byteLength(name);
  const sqlBytes = Buffer.byteLength(sql);
  const out = Buffer.allocUnsafe(5 + nameBytes + 1 + sqlBytes + 1 + 2);
  let at = head(out, CODE.parse);
  at += out.write(name, at);
  out[at++] = 0;
  at += out.write(sql, at);
  out[at++] = 0;
  out.writeUInt16BE(0, at);
  return out;
}

/** Binds the unnamed portal to a statement. */
export function bindMessage(statement: string, parameters: readonly Parameter[]): Uint8Array[] {
  const nameBytes = Buffer.byteLength(statement);
  const first = Buffer.allocUnsafe(5 + 1 + nameBytes + 1 + 2 + 2 * parameters.length + 2);
  let at = 5;
  first[at++] = 0;
  at += first.write(statement, at);
  first[at++] = 0;
  at = first.writeUInt16BE(parameters.length, at);
  for (const parameter of parameters) at = first.writeUInt16BE(parameter.format === 'binary' ? 1 : 0, at);
  first.writeUInt16BE(parameters.length, at);
  const chunks: Uint8Array[] = [first];
  let length = first.length;
  for (const { pieces } of parameters) {
    const size = Buffer.allocUnsafe(4);
    const bytes = pieces === null ? -1 : pieces.reduce((sum, piece) => sum + piece.length, 0);
    size.writeInt32BE(bytes, 0);
    chunks.push(size);
    length += 4;
    if (pieces === null) continue;
    chunks.push(...pieces);
    length += bytes;
  }
  chunks.push(NO_RESULT_FORMATS);
  length += 2;
  first[0] = CODE.bind;
  first.writeUInt32BE(length - 1, 1);
  return chunks;
}

/** Runs the unnamed portal to its end. */
export const EXECUTE: Buffer = Buffer.from([CODE.execute, 0, 0, 0, 9, 0, 0, 0, 0, 0]);
export const SYNC: Buffer = Buffer.from([CODE.sync, 0, 0, 0, 4]);
export const COPY_DONE: Buffer = Buffer.from([CODE.copyDone, 0, 0, 0, 4]);
const NO_RESULT_FORMATS = Buffer.from([0, 0]);

/** Forgets a prepared statement; no error when there is none of that name. */
export function closeStatementMessage(name: string): Buffer {
  const out = Buffer.allocUnsafe(5 + 1 + Buffer.byteLength(name) + 1);
  let at = head(out, CODE.close);
  out[at++] = 0x53;
  at += out.write(name, at);
  out[at] = 0;
  return out;
}

/** `bytes` as CopyData messages; the bytes are not copied. */
export function copyDataMessages(bytes: Uint8Array): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += COPY_PIECE) {
    const piece = bytes.subarray(at, at + COPY_PIECE);
    const header = Buffer.allocUnsafe(5);
    header[0] = CODE.copyData;
    header.writeUInt32BE(4 + piece.length, 1);
    chunks.push(header, piece);
  }
  return chunks;
}

function head(out: Buffer, code: number): number {
  out[0] = code;
  out.writeUInt32BE(out.length - 1, 1);
  return 5;
}
