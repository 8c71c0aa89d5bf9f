/** The binlog of a server as a list of transactions of one table `(id int, v int, ...)`, and the place that has been come to. */
import type { GtidEvent } from '../../../../connectors/mysql/binlog/gtid-events.ts';
import type { Heartbeat, Rotate, XaPrepare } from '../../../../connectors/mysql/binlog/small-events.ts';
import { formatUuid, gtidSource } from '../../../../connectors/mysql/gtid-set.ts';
import type { MariadbGtid } from '../../../../connectors/mysql/mariadb-gtid.ts';
import { encodePlace, type BinlogPlace } from '../../../../connectors/mysql/position.ts';
import type { StreamProgress } from '../../../../connectors/mysql/copy/copier-deps.ts';
import type { Position } from '../../../../contracts/position.ts';
import type { TransactionEntry } from '../../../../contracts/transaction.ts';
import type { MysqlServer } from '../../../fixtures/mysql.ts';
import type { Heard } from '../binlog/recorder.ts';
import { startDump, type Dumping } from '../wire/dumping.ts';
import { endOf } from './copying.ts';

export interface Change {
  readonly kind: string;
  readonly before: string;
  readonly after: string;
}

export interface FollowedTransaction {
  readonly position: Position;
  readonly changes: readonly Change[];
}

/** `id v` */
export type Rows = Map<string, string>;

export class FollowedBinlog implements StreamProgress, AsyncDisposable {
  readonly transactions: FollowedTransaction[] = [];
  place: BinlogPlace;
  readonly #table: string;
  readonly #server: MysqlServer;
  #dumping: Dumping | null = null;
  #open: Change[] = [];
  readonly #prepared = new Map<string, Change[]>();
  readonly #waiting = new Set<() => void>();

  private constructor(server: MysqlServer, place: BinlogPlace, table: string) {
    this.#server = server;
    this.place = place;
    this.#table = table;
  }

  /** From the end of the binlog on. Nobody writes meanwhile. */
  static async start(server: MysqlServer, table: string): Promise<FollowedBinlog> {
    const place = await endOf(server);
    const followed = new FollowedBinlog(server, place, table);
    followed.#dumping = await startDump(server, {
      start: { by: 'file', file: place.file, offset: place.offset },
      heartbeatMs: 200,
      onHeard: (heard) => followed.#heard(heard),
    });
    return followed;
  }

  moved(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.add(resolve);
      signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
    });
  }

  /** All that is in the binlog now has been followed. */
  async caughtUp(): Promise<void> {
    const end = await endOf(this.#server);
    while (this.place.file < end.file || (this.place.file === end.file && this.place.offset < end.offset)) await this.moved(new AbortController().signal);
  }

  entry(index: number): TransactionEntry {
    const { position } = this.transactions[index] as FollowedTransaction;
    return { kind: 'source', first: 0, count: 0, begins: true, commits: true, xid: 0, position, commitTime: 0, origin: '' };
  }

  /** What transactions `from` up to, not including, `to` make of the rows. */
  fold(rows: Rows, from: number, to: number): Rows {
    const folded = new Map(rows);
    for (const { changes } of this.transactions.slice(from, to)) {
      for (const { kind, before, after } of changes) {
        if (kind !== 'write') folded.delete(idOf(before));
        if (kind !== 'delete') folded.set(idOf(after), after);
      }
    }
    return folded;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dumping?.[Symbol.asyncDispose]();
  }

  #heard(heard: Heard): void {
    if ('map' in heard) {
      if (heard.map.table === this.#table) this.#open.push({ kind: heard.kind, before: textOf(heard.before), after: textOf(heard.after) });
      return;
    }
    switch (heard.what) {
      case 'gtid':
        this.#gtid(heard.detail as GtidEvent);
        break;
      case 'mariadbGtid':
        if (this.place.flavor === 'mariadb') this.place.executed.set((heard.detail as { gtid: MariadbGtid }).gtid);
        break;
      case 'rotate':
        this.#move((heard.detail as Rotate).file, (heard.detail as Rotate).position);
        break;
      case 'heartbeat':
        if ((heard.detail as Heartbeat).file === this.place.file) this.#move(this.place.file, Math.max(this.place.offset, (heard.detail as Heartbeat).position));
        break;
      case 'xid':
        this.#commit(this.#open);
        break;
      case 'xaPrepare':
        this.#prepared.set((heard.detail as XaPrepare).xid.global.toString('hex'), this.#open);
        this.#commit([]);
        break;
      case 'query':
        this.#statement((heard.detail as { statement: string }).statement);
    }
  }

  #gtid({ uuid, tag, number }: GtidEvent): void {
    if (uuid !== null && this.place.flavor === 'mysql') this.place.executed.add(gtidSource(formatUuid(uuid, 0), tag), number);
  }

  #statement(statement: string): void {
    const commit = /^XA COMMIT X'([0-9a-f]+)'/i.exec(statement);
    if (commit !== null) this.#commit(this.#prepared.get((commit[1] ?? '').toLowerCase()) ?? []);
    else if (!/^(BEGIN|XA |SAVEPOINT)/i.test(statement)) this.#commit(this.#open);
  }

  #commit(changes: Change[]): void {
    const { reader } = this.#dumping ?? {};
    if (reader === undefined) return;
    this.place = { ...this.place, file: reader.file, offset: reader.position };
    this.transactions.push({ position: encodePlace(this.place), changes });
    this.#open = [];
    this.#move(reader.file, reader.position);
  }

  #move(file: string, offset: number): void {
    this.place = { ...this.place, file, offset };
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

export function idOf(row: string): string {
  return row.split(' ')[0] ?? '';
}

function textOf(row: readonly (string | null | undefined)[] | null): string {
  return row === null ? '' : row.slice(0, 2).map((value) => String(Buffer.from(value ?? '', 'hex').readInt32LE(0))).join(' ');
}
