import { setTimeout as delay } from 'node:timers/promises';
import { Catalog } from '../../../../contracts/catalog.ts';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { asTidemarkError, type TidemarkError } from '../../../../contracts/errors/error.ts';
import { ReferenceLog, type ReferenceRecord } from '../../../../contracts/kit/reference-log.ts';
import { isRowOp, Op } from '../../../../contracts/op.ts';
import { readImage } from '../../../../contracts/row-image.ts';
import { resolveOptions } from '../../../../connectors/mysql/options.ts';
import { decodePlace, mysqlPositions, type BinlogPlace } from '../../../../connectors/mysql/position.ts';
import { ReplicaIds } from '../../../../connectors/mysql/server-id.ts';
import { Endpoint } from '../../../../connectors/mysql/session.ts';
import { RolledBack } from '../../../../connectors/mysql/stream/group.ts';
import { MysqlStream } from '../../../../connectors/mysql/stream/stream.ts';
import type { MysqlServer } from '../../../fixtures/mysql.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { mysqlSource } from '../mysql-source.ts';
import { PlainTracking } from './plain-tracking.ts';

/** A machine may have its cores taken away for long. */
const DEADLINE_MS = 50_000;

/** A stream of a real server into a log in memory. What outlives streams outlives them here too. */
export class StreamRig implements AsyncDisposable {
  readonly log = new ReferenceLog();
  readonly rolledBack = new RolledBack();
  readonly anonymous = new Set<string>();
  readonly failures: TidemarkError[] = [];
  readonly batches: { readonly records: number; readonly endsOpen: boolean }[] = [];
  url: string;
  tracking: PlainTracking | null = null;
  readonly #options: Readonly<Record<string, unknown>>;
  readonly #ids = new ReplicaIds(null, createTestRuntime().random);
  #stream: MysqlStream | null = null;
  #pump: Promise<void> = Promise.resolve();
  #failure: TidemarkError | null = null;
  #wake: () => void = () => undefined;
  /** Awaited before each batch is taken. */
  gate: Promise<void> = Promise.resolve();

  constructor(url: string, options: Readonly<Record<string, unknown>> = {}) {
    this.url = url;
    this.#options = options;
  }

  get position(): Uint8Array | null {
    return this.log.position === null ? null : Buffer.from(this.log.position, 'hex');
  }

  get place(): BinlogPlace | null {
    return this.position === null ? null : decodePlace(this.position);
  }

  run(): void {
    this.log.rollback();
    const runtime = createTestRuntime();
    const config = mysqlSource(this.url, { options: { url: this.url, ...this.#options } });
    const start = { position: this.position, catalog: this.log.highWatermark === 0 ? Catalog.from([]) : this.log.catalog() };
    const stream = new MysqlStream(
      {
        endpoint: new Endpoint(config, runtime),
        options: resolveOptions('shop', config.options),
        runtime,
        replicaIds: this.#ids,
        rolledBack: this.rolledBack,
        anonymous: this.anonymous,
        begin: () => null,
        track: (_session, { version }) => {
          this.tracking = new PlainTracking(start.catalog, version.flavor);
          return Promise.resolve(this.tracking);
        },
        readCatalog: () => Promise.reject(new Error('nothing is read')),
        report: () => undefined,
        runs: () => Promise.resolve(),
        moved: () => undefined,
      },
      start,
      new AbortController().signal,
    );
    this.#stream = stream;
    this.#failure = null;
    this.#pump = this.#consume(stream);
  }

  async stop(): Promise<void> {
    await this.#stream?.[Symbol.asyncDispose]();
    await this.#pump;
    this.#stream = null;
  }

  /** Runs again after every failure that is worth it, until it is true of the log. */
  async until(ready: () => boolean, what: string): Promise<void> {
    const late = performance.now() + DEADLINE_MS;
    while (!ready()) {
      if (performance.now() > late) throw new Error(`not in time: ${what}, at ${this.position === null ? 'nothing' : mysqlPositions.format(this.position)}; failures: ${this.failures.map(({ code, message }) => `${code} ${message}`).slice(-3).join('; ')}`);
      if (this.#failure !== null) {
        if (this.#failure.retry !== 'auto') throw this.#failure;
        await this.stop();
        await new Promise((resolve) => setTimeout(resolve, 20));
        this.run();
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, 50);
      });
      this.#stream?.requestProgress();
    }
  }

  /** Everything that the server has written by now is in the log. */
  async caughtUp(server: MysqlServer): Promise<void> {
    const head = await headOf(server);
    await this.until(() => {
      const { position } = this;
      return position !== null && mysqlPositions.compare(position, mysqlPositions.parse(head, position)) >= 0;
    }, `progress to ${head}`);
  }

  async failure(): Promise<TidemarkError> {
    const late = new AbortController();
    const limit = delay(DEADLINE_MS, 'late', { signal: late.signal });
    const end = await Promise.race([this.#pump, limit]);
    late.abort();
    await limit.catch(() => undefined);
    if (end === 'late') throw new Error(`the stream goes on, at ${this.position === null ? 'nothing' : mysqlPositions.format(this.position)}`);
    if (this.#failure === null) throw new Error('the stream has ended without a failure');
    return this.#failure;
  }

  /** Rows of the table as the log has them, by the first column. */
  rows(table: string): Map<string, string | null> {
    const tableId = this.tableId(table);
    const rows = new Map<string, string | null>();
    if (tableId === null) return rows;
    for (const image of this.log.fold(tableId).values()) {
      const [id, v = null] = readImage(Buffer.from(image, 'hex'));
      rows.set(String(id), v === null || typeof v === 'string' ? v : '');
    }
    return rows;
  }

  tableId(table: string): number | null {
    return this.log.catalog().tables().find(({ versions }) => versions.at(-1)?.schema.name === table)?.tableId ?? null;
  }

  records(table: string): ReferenceRecord[] {
    const tableId = this.tableId(table);
    return this.log.read(0).filter((record) => record.tableId === tableId && (isRowOp(record.op) || record.op === Op.truncate));
  }

  /** How many rows each of the source's transactions with any has. */
  transactionSizes(): number[] {
    const isRow = (record: ReferenceRecord): boolean => isRowOp(record.op);
    return this.log.transactions.filter(({ kind }) => kind === 'source').map(({ after, last }) => this.log.records.slice(after, last).filter(isRow).length).filter((size) => size > 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #consume(stream: MysqlStream): Promise<void> {
    try {
      for await (const batch of stream) {
        await this.gate;
        this.#take(stream, batch);
      }
    } catch (error) {
      this.#failure = asTidemarkError(error, 'INTERNAL');
      this.failures.push(this.#failure);
    } finally {
      this.#wake();
    }
  }

  #take(stream: MysqlStream, batch: ChangeBatch): void {
    this.log.append(batch);
    this.batches.push({ records: batch.count, endsOpen: batch.endsOpen });
    if (batch.progress !== null) stream.acknowledge({ highWatermark: this.log.highWatermark, position: this.position });
    this.#wake();
  }
}

/** The end of the server's binlog, as positions are read. */
export async function headOf(server: MysqlServer): Promise<string> {
  const isOn = server.flavor === 'mariadb' || (await server.query('SELECT @@gtid_mode AS mode'))[0]?.['mode'] === 'ON';
  if (isOn) return (await server.query(server.flavor === 'mysql' ? 'SELECT @@gtid_executed AS gtids' : 'SELECT @@gtid_binlog_pos AS gtids'))[0]?.['gtids'] ?? '';
  const last = (await server.query('SHOW BINARY LOGS')).at(-1);
  return `${last?.['Log_name'] ?? ''}:${last?.['File_size'] ?? ''}`;
}

/** Rows of the table as the server has them. */
export async function serverRows(server: MysqlServer, table: string): Promise<Map<string, string | null>> {
  const rows = await server.query(`SELECT id, v FROM ${table}`, 'shop');
  return new Map(rows.map((row) => [row['id'] ?? '', row['v'] ?? null]));
}
