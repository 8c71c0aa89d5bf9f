/**
 * Positions of MariaDB's global transaction ids: of each replication domain the last transaction, `domain-server-sequence`.
 *
 * The server keeps each domain in an order of its own, so that the last one of a domain stands for all before it. Under
 * `gtid_strict_mode` sequence numbers of a domain only grow, perhaps with gaps; without it they may go back when another
 * server begins to write, and two positions with it can be compared only within the files of one server.
 */
import { TidemarkError } from '../../contracts/errors/error.ts';

export interface MariadbGtid {
  readonly domain: number;
  /** The `server_id` of where it was written first. */
  readonly server: number;
  readonly sequence: number;
}

/** `diverged`: neither is behind the other in every domain, or a domain has one number for two transactions. */
export type GtidOrder = 'before' | 'equal' | 'after' | 'diverged';

const MAX_U32 = 0xffff_ffff;
const ENTRY_BYTES = 16;
const COUNT_BYTES = 4;
/** The upper bits of the count are flags in the event of the GTID list. */
const COUNT_MASK = 0x0fff_ffff;

export class MariadbGtids {
  /** By domain. */
  readonly #last = new Map<number, MariadbGtid>();

  /** As `@@gtid_binlog_pos` prints it; '' is the beginning. @throws TidemarkError `MYSQL_GTID` */
  static parse(text: string): MariadbGtids {
    const gtids = new MariadbGtids();
    if (text.trim() === '') return gtids;
    for (const part of text.split(',')) {
      const gtid = parseMariadbGtid(part.trim());
      if (gtids.#last.has(gtid.domain)) throw new TidemarkError('MYSQL_GTID', `the domain ${gtid.domain} stands twice in '${text.slice(0, 100)}'`);
      gtids.set(gtid);
    }
    return gtids;
  }

  /**
   * The body of a GTID list event, or what `encode` made: u32 count, then per entry u32 domain, u32 server id, u64
   * sequence, little-endian. An event names one for each server of a domain; the last one named is the domain's last.
   * @throws TidemarkError `MYSQL_GTID`
   */
  static decode(bytes: Uint8Array): MariadbGtids {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const count = buffer.length < COUNT_BYTES ? -1 : buffer.readUInt32LE(0) & COUNT_MASK;
    if (count < 0 || buffer.length !== COUNT_BYTES + count * ENTRY_BYTES) throw new TidemarkError('MYSQL_GTID', `a list of GTIDs has ${buffer.length} bytes`);
    const gtids = new MariadbGtids();
    for (let at = COUNT_BYTES; at < buffer.length; at += ENTRY_BYTES) {
      const high = buffer.readUInt32LE(at + 12);
      if (high > 0x1f_ffff) throw new TidemarkError('MYSQL_GTID', 'a sequence number is out of range');
      gtids.set({ domain: buffer.readUInt32LE(at), server: buffer.readUInt32LE(at + 4), sequence: high * 0x1_0000_0000 + buffer.readUInt32LE(at + 8) });
    }
    return gtids;
  }

  get isEmpty(): boolean {
    return this.#last.size === 0;
  }

  /** By domain, ascending. */
  get all(): MariadbGtid[] {
    return [...this.#last.values()].toSorted((a, b) => a.domain - b.domain);
  }

  get(domain: number): MariadbGtid | null {
    return this.#last.get(domain) ?? null;
  }

  /** In place: the last one of its domain from here on. */
  set(gtid: MariadbGtid): void {
    this.#last.set(gtid.domain, gtid);
  }

  clone(): MariadbGtids {
    const copy = new MariadbGtids();
    for (const gtid of this.#last.values()) copy.set(gtid);
    return copy;
  }

  /** Where this stands as seen from `other`. */
  orderTo(other: MariadbGtids): GtidOrder {
    let [behind, ahead] = [false, false];
    for (const domain of new Set([...this.#last.keys(), ...other.#last.keys()])) {
      const [one, two] = [this.#last.get(domain), other.#last.get(domain)];
      if (one === undefined) behind = true;
      else if (two === undefined) ahead = true;
      else if (one.sequence !== two.sequence) {
        behind ||= one.sequence < two.sequence;
        ahead ||= one.sequence > two.sequence;
      } else if (one.server !== two.server) return 'diverged';
    }
    if (behind && ahead) return 'diverged';
    return behind ? 'before' : ahead ? 'after' : 'equal';
  }

  /** By domain, as the server prints and reads it. */
  toString(): string {
    return this.all.map(formatMariadbGtid).join(',');
  }

  encodedLength(): number {
    return COUNT_BYTES + this.#last.size * ENTRY_BYTES;
  }

  encode(): Buffer {
    const bytes = Buffer.alloc(this.encodedLength());
    this.encodeInto(bytes, 0, null);
    return bytes;
  }

  /** `entries`, where given, gets per domain where its entry stands, so that it can be overwritten in place. */
  encodeInto(bytes: Buffer, start: number, entries: Map<number, number> | null): void {
    bytes.writeUInt32LE(this.#last.size, start);
    let at = start + COUNT_BYTES;
    for (const gtid of this.all) {
      entries?.set(gtid.domain, at);
      writeMariadbGtid(bytes, gtid, at);
      at += ENTRY_BYTES;
    }
  }
}

/** Sixteen bytes at `at`. */
export function writeMariadbGtid(bytes: Buffer, { domain, server, sequence }: MariadbGtid, at: number): void {
  bytes.writeUInt32LE(domain, at);
  bytes.writeUInt32LE(server, at + 4);
  bytes.writeUInt32LE(sequence % 0x1_0000_0000, at + 8);
  bytes.writeUInt32LE(Math.floor(sequence / 0x1_0000_0000), at + 12);
}

/** `0-1-77` */
export function formatMariadbGtid({ domain, server, sequence }: MariadbGtid): string {
  return `${domain}-${server}-${sequence}`;
}

/** @throws TidemarkError `MYSQL_GTID` */
export function parseMariadbGtid(text: string): MariadbGtid {
  const match = /^([0-9]{1,10})-([0-9]{1,10})-([0-9]{1,20})$/.exec(text);
  const [domain, server, sequence] = [Number(match?.[1]), Number(match?.[2]), Number(match?.[3])];
  if (match === null || domain > MAX_U32 || server > MAX_U32 || !Number.isSafeInteger(sequence)) {
    throw new TidemarkError('MYSQL_GTID', `'${text.slice(0, 100)}' is no GTID of MariaDB`);
  }
  return { domain, server, sequence };
}
