/**
 * A Postgres position, 20 bytes, big-endian:
 *
 *      0  u64 system identifier   of the cluster (IDENTIFY_SYSTEM)
 *      8  u32 timeline            that the server followed when it said so
 *     12  u64 LSN                 where to resume: the end of a commit record, or a keepalive's end of WAL
 *
 * An LSN is a safe number in memory: 2^53 bytes of WAL are 9 petabytes.
 */
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Position, PositionCodec } from '../../contracts/position.ts';

const POSITION_BYTES = 20;

/** A byte position in the WAL. */
export type Lsn = number;

/** Which WAL an LSN belongs to. */
export interface WalIdentity {
  /** Decimal, as IDENTIFY_SYSTEM prints it. */
  readonly systemId: string;
  readonly timeline: number;
}

const TWO_32 = 0x1_0000_0000;
/** High halves above this make an LSN that is not a safe integer. */
const MAX_HIGH = 0x1f_ffff;

/** @throws TidemarkError `POSTGRES_PROTOCOL` when the halves make no safe number */
export function lsnOf(high: number, low: number): Lsn {
  if (high > MAX_HIGH) throw new TidemarkError('POSTGRES_PROTOCOL', `the LSN ${high.toString(16)}/${low.toString(16)} is out of range`);
  return high * TWO_32 + low;
}

/** `0/16B3748` */
export function formatLsn(lsn: Lsn): string {
  return `${Math.floor(lsn / TWO_32).toString(16).toUpperCase()}/${(lsn % TWO_32).toString(16).toUpperCase()}`;
}

/** @throws TidemarkError `POSITION_SYNTAX` for anything but `HEX/HEX` */
export function parseLsn(text: string): Lsn {
  const match = /^([0-9a-fA-F]{1,8})\/([0-9a-fA-F]{1,8})$/.exec(text);
  const high = Number.parseInt(match?.[1] ?? '', 16);
  if (match === null || high > MAX_HIGH) throw new TidemarkError('POSITION_SYNTAX', `'${text}' is not an LSN`);
  return high * TWO_32 + Number.parseInt(match[2] ?? '', 16);
}

/** Writes positions of one WAL; the fixed part is made once. */
export class PositionWriter {
  #identity: WalIdentity;
  readonly #head: Buffer;

  constructor(identity: WalIdentity) {
    this.#identity = identity;
    this.#head = Buffer.alloc(POSITION_BYTES);
    this.follow(identity);
  }

  get identity(): WalIdentity {
    return this.#identity;
  }

  /** Positions from here on are of that WAL. */
  follow(identity: WalIdentity): void {
    this.#identity = identity;
    this.#head.writeBigUInt64BE(BigInt(identity.systemId), 0);
    this.#head.writeUInt32BE(identity.timeline, 8);
  }

  at(lsn: Lsn): Position {
    const bytes = Buffer.from(this.#head);
    bytes.writeUInt32BE(Math.floor(lsn / TWO_32), 12);
    bytes.writeUInt32BE(lsn % TWO_32, 16);
    return bytes;
  }
}

/** @throws TidemarkError `POSITION_SYNTAX` when the bytes are no Postgres position */
export function lsnOfPosition(position: Position): Lsn {
  const bytes = checked(position);
  return lsnOf(bytes.readUInt32BE(12), bytes.readUInt32BE(16));
}

/** @throws TidemarkError `POSITION_SYNTAX` when the bytes are no Postgres position */
export function identityOfPosition(position: Position): WalIdentity {
  const bytes = checked(position);
  return { systemId: bytes.readBigUInt64BE(0).toString(), timeline: bytes.readUInt32BE(8) };
}

/**
 * Positions of one cluster are ordered by LSN alone: a new timeline is followed only where the log is not past its
 * branching point, so that LSNs go on growing through it.
 */
export const postgresPositions: PositionCodec = {
  compare(a, b) {
    const one = identityOfPosition(a);
    const other = identityOfPosition(b);
    if (one.systemId !== other.systemId) {
      throw new TidemarkError('POSITION_FOREIGN', `a position of system ${one.systemId} was compared with one of ${other.systemId}`);
    }
    return lsnOfPosition(a) - lsnOfPosition(b);
  },
  distance: (a, b) => postgresPositions.compare(b, a),
  format: (position) => formatLsn(lsnOfPosition(position)),
  parse(text, like) {
    const writer = new PositionWriter(identityOfPosition(like));
    return writer.at(parseLsn(text.startsWith('lsn:') ? text.slice('lsn:'.length) : text));
  },
};

function checked(position: Position): Buffer {
  if (position.length !== POSITION_BYTES) {
    throw new TidemarkError('POSITION_SYNTAX', `a Postgres position has ${POSITION_BYTES} bytes, not ${position.length}`);
  }
  return Buffer.from(position.buffer, position.byteOffset, position.byteLength);
}
