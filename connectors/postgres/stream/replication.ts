/**
 * One replication connection. `pg-logical-replication` makes it and starts the stream; from then on the bytes come
 * straight from the socket (WireSocket.divert), and status messages are written here: the library's own would name an
 * LSN that is one too high, and one that was only received.
 */
import type pg from 'pg';
import { LogicalReplicationService } from 'pg-logical-replication';
import { postgresError, protocolError } from '../errors.ts';
import { formatLsn, type Lsn } from '../position.ts';
import { identified, type ServerIdentity } from '../catalog/server-identity.ts';
import type { TextRow, WireConnection } from '../session.ts';
import { quoteIdentifier, quoteLiteral } from '../catalog/source-table.ts';

export interface ReplicationRequest {
  readonly slot: string;
  readonly publication: string;
  readonly start: Lsn;
  /** `server_version_num` */
  readonly version: number;
  /** Called before the stream begins; `history` asks for the timeline history. */
  readonly identified: (server: ServerIdentity, history: () => Promise<string>) => Promise<void>;
  /** Every byte of the server from here on. */
  readonly onBytes: (chunk: Buffer) => void;
  /** The stream is over: never called after `close`. */
  readonly onEnd: (error: Error) => void;
}

/** Options of pgoutput that the server knows: the newest protocol, whole committed transactions, text. */
function pluginOptions(publication: string, version: number): string {
  const proto = version >= 160_000 ? 4 : version >= 150_000 ? 3 : version >= 140_000 ? 2 : 1;
  const options = [`proto_version '${proto}'`, `publication_names ${quoteLiteral(quoteIdentifier(publication))}`];
  if (version >= 140_000) options.push(`messages 'true'`, `binary 'false'`);
  if (version >= 160_000) options.push(`origin 'any'`);
  return options.join(', ');
}

type Plugin = Parameters<LogicalReplicationService['subscribe']>[0];

class RawPlugin implements Plugin {
  readonly name = 'pgoutput';
  readonly options: ReplicationRequest;
  readonly #wire: WireConnection;

  constructor(request: ReplicationRequest, wire: WireConnection) {
    this.options = request;
    this.#wire = wire;
  }

  async start(client: pg.Client): Promise<unknown> {
    const { slot, publication, start, version, onBytes } = this.options;
    const { rows } = await client.query<TextRow>('IDENTIFY_SYSTEM');
    const server = identified(rows[0] ?? {});
    await this.options.identified(server, async () => {
      const answer = await client.query<TextRow>(`TIMELINE_HISTORY ${server.timeline}`);
      return answer.rows[0]?.['content'] ?? '';
    });
    this.#wire.socket.divert(onBytes);
    return client.query(`START_REPLICATION SLOT ${quoteIdentifier(slot)} LOGICAL ${formatLsn(start)} (${pluginOptions(publication, version)})`);
  }

  parse(): never {
    throw protocolError('the stream was not diverted');
  }
}

/** Owned by one stream. */
export class ReplicationConnection {
  readonly #wire: WireConnection;
  readonly #service: LogicalReplicationService;
  #closed = false;

  constructor(wire: WireConnection) {
    this.#wire = wire;
    this.#service = new LogicalReplicationService(
      { ...wire.config },
      // Nothing is ever acknowledged by the library, neither on receipt nor by a timer.
      { acknowledge: { auto: false, timeoutSeconds: 0 } },
    );
  }

  /** Connects and starts; resolves when the server has begun to stream. @throws TidemarkError */
  async start(request: ReplicationRequest): Promise<void> {
    const service = this.#service;
    const begun = new Promise<void>((resolve, reject) => {
      service.on('start', () => resolve());
      const end = (error: unknown): void => {
        const known = postgresError(error);
        reject(known);
        if (!this.#closed) request.onEnd(known);
      };
      service.on('error', end);
      service.subscribe(new RawPlugin(request, this.#wire), request.slot, formatLsn(request.start)).then(
        () => end(new Error('the server has ended the stream')),
        end,
      );
    });
    await begun;
  }

  /** Hands a message that is not of the stream on to the client. */
  forward(message: Buffer): void {
    this.#wire.socket.forward(message);
  }

  pause(): void {
    this.#wire.socket.pauseWire();
  }

  resume(): void {
    this.#wire.socket.resumeWire();
  }

  /** True when bytes that come while paused stay in the socket. */
  get gathers(): boolean {
    return this.#wire.socket.readsDirectly;
  }

  /**
   * A standby status update: everything below `durable` is durable here, the only position that is ever named.
   * @param reply the server shall answer at once
   * @param now milliseconds since 1970
   */
  sendStatus(durable: Lsn, reply: boolean, now: number): void {
    if (this.#closed || !this.#wire.socket.writable) return;
    this.#wire.socket.write(statusMessage(durable, reply, now));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wire.socket.destroy();
    await this.#service.destroy();
  }
}

const STATUS_BYTES = 34;
const TWO_32 = 0x1_0000_0000;
/** Milliseconds from 1970 to 2000. */
const EPOCH_2000_MS = 946_684_800_000;

/** CopyData with a standby status update: written, flushed and applied are one and the same. */
export function statusMessage(durable: Lsn, reply: boolean, now: number): Buffer {
  const message = Buffer.alloc(5 + STATUS_BYTES);
  message[0] = 0x64;
  message.writeUInt32BE(4 + STATUS_BYTES, 1);
  message[5] = 0x72;
  for (const at of [6, 14, 22]) {
    message.writeUInt32BE(Math.floor(durable / TWO_32), at);
    message.writeUInt32BE(durable % TWO_32, at + 4);
  }
  const micros = (now - EPOCH_2000_MS) * 1000;
  message.writeUInt32BE(Math.floor(micros / TWO_32), 30);
  message.writeUInt32BE(Math.floor(micros % TWO_32), 34);
  message[38] = reply ? 1 : 0;
  return message;
}
