import { expect } from 'vitest';
import type { ChangeBatch } from '../change-batch.ts';
import { TidemarkError } from '../errors/error.ts';
import type { ErrorCode } from '../errors/catalogue.ts';
import type { DurableProgress, LogEngine, LogWriter, SourceLog } from '../log-engine.ts';
import type { Offset } from '../offset.ts';
import type { LogEngineFixture } from './log-engine-kit.ts';
import { recordsOf, ReferenceLog, type ReferenceRecord } from './reference-log.ts';

export type MakeFixture = () => Promise<LogEngineFixture>;

export const SOURCE = 'shop';

/** A signal that never aborts. */
export const NEVER: AbortSignal = new AbortController().signal;

/** One engine with one log and one writer, beside the reference log that gets the same batches. */
export class LogUnderTest implements AsyncDisposable {
  readonly reference = new ReferenceLog();
  readonly durable: DurableProgress[] = [];
  readonly #fixture: LogEngineFixture;
  engine: LogEngine;
  log: SourceLog;
  writer: LogWriter;

  private constructor(fixture: LogEngineFixture, engine: LogEngine, log: SourceLog) {
    this.#fixture = fixture;
    this.engine = engine;
    this.log = log;
    this.writer = NO_WRITER;
  }

  static async make(makeFixture: MakeFixture): Promise<LogUnderTest> {
    const fixture = await makeFixture();
    const engine = await fixture.open();
    const made = new LogUnderTest(fixture, engine, await engine.open(SOURCE, { create: true }));
    await made.openWriter();
    return made;
  }

  async openWriter(): Promise<void> {
    this.writer = await this.log.openWriter((progress) => this.durable.push(progress));
  }

  /** Appends to both and compares the places. */
  async append(batch: ChangeBatch): Promise<void> {
    const expected = this.reference.append(batch);
    expect(await this.writer.append(batch)).toEqual(expected);
  }

  async rollback(): Promise<void> {
    const expected = this.reference.rollback();
    expect(await this.writer.rollback()).toBe(expected);
  }

  /** Ends the engine in order and opens it again; without a writer unless asked for. */
  async reopen(withWriter: boolean): Promise<void> {
    await this.engine[Symbol.asyncDispose]();
    this.reference.rollback();
    this.engine = await this.#fixture.open();
    this.log = await this.engine.open(SOURCE, { create: false });
    this.writer = NO_WRITER;
    if (withWriter) await this.openWriter();
  }

  /** Everything that is readable equals the reference: records, transactions, state, catalog. */
  async expectEqual(): Promise<void> {
    const { reference, log } = this;
    const state = log.state();
    expect(state.highWatermark).toBe(reference.highWatermark);
    expect(state.position === null ? null : Buffer.from(state.position).toString('hex')).toBe(reference.position);
    expect(log.catalog().tables()).toEqual(reference.catalog().tables());
    const read = await readAll(log, 0);
    expect(read.records).toEqual(reference.read(0));
    expect(read.transactions).toEqual(reference.transactions);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine[Symbol.asyncDispose]();
    await this.#fixture[Symbol.asyncDispose]();
  }
}

const NO_WRITER: LogWriter = {
  start: { logId: '', epoch: '', highWatermark: 0, position: null },
  lastOffset: 0,
  append: () => Promise.reject(new Error('the test has no writer')),
  rollback: () => Promise.reject(new Error('the test has no writer')),
  flush: () => Promise.reject(new Error('the test has no writer')),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

export interface ReadBack {
  readonly records: ReferenceRecord[];
  readonly transactions: ReferenceLog['transactions'];
}

/** What a reader gets from (after, to], put together again by a reference log; batches must follow each other. */
export async function readAll(log: SourceLog, after: Offset, to?: Offset): Promise<ReadBack> {
  const read = log.read({ after, ...(to === undefined ? {} : { to }), follow: false, signal: NEVER });
  const records: ReferenceRecord[] = [];
  const whole = new ReferenceLog();
  for await (const batch of read) {
    expect(batch.baseOffset).toBe(after + records.length + 1);
    records.push(...recordsOf(batch));
    if (after === 0) whole.append(batch);
  }
  return { records, transactions: whole.transactions };
}

/** The next batch of a reader; fails when it has ended. */
export async function nextBatch(reader: AsyncIterator<ChangeBatch>): Promise<ChangeBatch> {
  const step = await reader.next();
  if (step.done === true) throw new Error('the reader has ended');
  return step.value;
}

/** Expects a rejection with a code. */
export async function expectCode(work: Promise<unknown>, code: ErrorCode): Promise<TidemarkError> {
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof TidemarkError)) throw error;
  expect(error.code).toBe(code);
  return error;
}
