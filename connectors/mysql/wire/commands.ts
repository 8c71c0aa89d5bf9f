/** Commands of a replica, as packets: u24 length, u8 number 0, then a byte that says which. Integers little-endian. */

const REGISTER_REPLICA = 0x15;
const DUMP = 0x12;
const DUMP_GTID = 0x1e;
/** What follows is a set of GTIDs. */
const THROUGH_GTID = 4;
const FIRST_POSITION = 4;
const PACKET_HEADER = 4;
const MAX_NAME = 60;

/** Makes the reader known to the server under `host` (SHOW REPLICAS). */
export function registerReplica(serverId: number, host: string): Buffer {
  const name = Buffer.from(host, 'latin1').subarray(0, MAX_NAME);
  const body = Buffer.alloc(1 + 4 + 1 + name.length + 1 + 1 + 2 + 4 + 4);
  body[0] = REGISTER_REPLICA;
  body.writeUInt32LE(serverId, 1);
  body[5] = name.length;
  // No user, no password, no port, no rank, no source: zeros.
  name.copy(body, 6);
  return packet(body);
}

/** From an offset of a file; `file` '' is the first file that there is. MariaDB starts by its session's state then. */
export function binlogDump(serverId: number, file: string, offset: number): Buffer {
  const name = Buffer.from(file, 'utf8');
  const body = Buffer.alloc(1 + 4 + 2 + 4 + name.length);
  body[0] = DUMP;
  // The server takes 32 bits; a file is only longer where one transaction is, and nothing resumes inside of one.
  body.writeUInt32LE(offset, 1);
  body.writeUInt32LE(serverId, 7);
  name.copy(body, 11);
  return packet(body);
}

/** Whatever is not in `executed`, a set of GTIDs as the server encodes it. */
export function binlogDumpGtid(serverId: number, executed: Uint8Array): Buffer {
  const body = Buffer.alloc(1 + 2 + 4 + 4 + 8 + 4 + executed.length);
  body[0] = DUMP_GTID;
  body.writeUInt16LE(THROUGH_GTID, 1);
  body.writeUInt32LE(serverId, 3);
  // No file name.
  body.writeUInt32LE(0, 7);
  body.writeUInt32LE(FIRST_POSITION, 11);
  body.writeUInt32LE(executed.length, 19);
  body.set(executed, 23);
  return packet(body);
}

function packet(body: Buffer): Buffer {
  const header = Buffer.alloc(PACKET_HEADER);
  header.writeUIntLE(body.length, 0, 3);
  return Buffer.concat([header, body]);
}
