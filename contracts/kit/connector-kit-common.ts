import type { ChangeBatch } from '../change-batch.ts';
import { Catalog } from '../catalog.ts';
import type { ChangeStream, SourceConnector, StreamStart } from '../connector.ts';
import { asTidemarkError, TidemarkError } from '../errors/error.ts';
import { isRowOp, Op } from '../op.ts';
import type { Position } from '../position.ts';
import { readImage } from '../row-image.ts';
import { tableName } from '../schema.ts';
import type { KitSource } from './connector-kit.ts';
import { ReferenceLog, type ReferenceRecord } from './reference-log.ts';

const DEADLINE_MS = 20_000;

/** A source, a connector to it, and what the stream has given so far, as a log. Disposing disposes both. */
export class ConnectorUnderTest implements AsyncDisposable {
  readonly source: KitSource;
  readonly log = new ReferenceLog();
  connector: SourceConnector;
  /** Positions as the batches named them, in order. */
  readonly progress: Position[] = [];
  /** Set to keep the log's durable position from being told to the connector. */
  acknowledging = true;
  #stream: ChangeStream | null = null;
  #pump: Promise<void> = Promise.resolve();
  #abort = new AbortController();
  #waiters: { ready: () => boolean; resolve: () => void }[] = [];
  #failure: TidemarkError | null = null;

  private constructor(source: KitSource) {
    this.source = source;
    this.connector = source.connector();
  }

  static async make(makeSource: () => Promise<KitSource>): Promise<ConnectorUnderTest> {
    return new ConnectorUnderTest(await makeSource());
  }

  /** Where the log is. */
  get start(): StreamStart {
    const position = this.log.position;
    return { position: position === null ? null : Buffer.from(position, 'hex'), catalog: this.log.catalog() };
  }

  /** Prepares, and streams from where the log is into it; what was left open is rolled back first. */
  async run(): Promise<ChangeStream> {
    this.log.rollback();
    const { start } = this;
    this.#abort = new AbortController();
    this.#failure = null;
    await this.connector.prepare(start, this.#abort.signal);
    const stream = this.connector.stream(start, this.#abort.signal);
    this.#stream = stream;
    this.#pump = this.#consume(stream);
    return stream;
  }

  /** Ends the stream in order. */
  async stop(): Promise<void> {
    this.#abort.abort(new TidemarkError('ABORTED', 'the test has ended'));
    await this.#pump;
    await this.#stream?.[Symbol.asyncDispose]();
    this.#stream = null;
  }

  /** The failure that the stream ends with. */
  async failure(): Promise<TidemarkError> {
    await this.#pump;
    if (this.#failure === null) throw new Error('the stream has ended without a failure');
    return this.#failure;
  }

  /** Breaks the connection of the stream. @returns the failure that it ends with */
  async cut(): Promise<TidemarkError> {
    const broken = new AbortController();
    const [failure] = await Promise.all([this.failure().finally(() => broken.abort()), this.source.cut(broken.signal)]);
    return failure;
  }

  /** Waits until it is true of the log. @throws what the stream failed with */
  async until(ready: () => boolean, what: string): Promise<void> {
    const waiting = new Promise<void>((resolve) => {
      this.#waiters.push({ ready, resolve });
    });
    this.#wake();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), DEADLINE_MS);
    });
    const failed = this.#pump.then(() => {
      if (!ready()) throw this.#failure ?? new Error(`the stream has ended before: ${what}`);
    });
    try {
      await Promise.race([waiting, late, failed]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Everything that the source has committed by now is in the log. */
  async caughtUp(): Promise<void> {
    const { positions } = this.connector;
    const head = await this.source.head();
    const asking = setInterval(() => this.#stream?.requestProgress(), 50);
    try {
      await this.until(() => {
        const { position } = this.start;
        return position !== null && positions.compare(position, positions.parse(head, position)) >= 0;
      }, `progress to ${head}`);
    } finally {
      clearInterval(asking);
    }
  }

  /** Committed records of the table's rows and truncations, of the newest generation with that name. */
  rowRecords(table: string): ReferenceRecord[] {
    const tableId = this.tableId(table);
    return this.log.read(0).filter((record) => record.tableId === tableId && (isRowOp(record.op) || record.op === Op.truncate));
  }

  tableId(table: string): number {
    const found = this.log.catalog().tables().findLast(({ versions, state }) => versions.at(-1)?.schema.name === table && state.state !== 'removed');
    if (found === undefined) throw new Error(`the log has no table ${table}`);
    return found.tableId;
  }

  /** The fold of the table as id to v, as `KitSource.rows` gives it. */
  rows(table: string): Map<number, string | null> {
    const tableId = this.tableId(table);
    const columns = this.log.catalog().schema(tableId)?.columns.map((column) => column.name) ?? [];
    const rows = new Map<number, string | null>();
    for (const image of this.log.fold(tableId).values()) {
      const cells = readImage(Buffer.from(image, 'hex'));
      const id = cells[columns.indexOf('id')];
      const v = cells[columns.indexOf('v')];
      rows.set(Number(id), typeof v === 'string' ? v : null);
    }
    return rows;
  }

  /** Names of the tables that the log knows. */
  tableNames(): string[] {
    return this.log.catalog().tables().map((table) => (table.versions[0] === undefined ? '' : tableName(table.versions[0].schema)));
  }

  /** Another connector in place of this one, as after a restart. */
  restart(): void {
    this.connector = this.source.connector();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.connector[Symbol.asyncDispose]();
    await this.source[Symbol.asyncDispose]();
  }

  async #consume(stream: ChangeStream): Promise<void> {
    try {
      for await (const batch of stream) this.#take(stream, batch);
    } catch (error) {
      this.#failure = asTidemarkError(error, 'INTERNAL');
    } finally {
      this.#wake();
    }
  }

  #take(stream: ChangeStream, batch: ChangeBatch): void {
    this.log.append(batch);
    if (batch.progress !== null) this.progress.push(batch.progress);
    if (batch.progress !== null && this.acknowledging) {
      stream.acknowledge({ highWatermark: this.log.highWatermark, position: this.start.position });
    }
    this.#wake();
  }

  #wake(): void {
    const woken = this.#waiters.filter((waiter) => waiter.ready());
    this.#waiters = this.#waiters.filter((waiter) => !woken.includes(waiter));
    for (const waiter of woken) waiter.resolve();
  }
}

/** An empty log, for asking a connector without running it. */
export const NEW_LOG: StreamStart = { position: null, catalog: Catalog.from([]) };

export const NEVER: AbortSignal = new AbortController().signal;
