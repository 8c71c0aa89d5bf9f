import { expect } from 'vitest';
import type { Checkpoint } from '../../../../contracts/checkpoint.ts';
import { NEVER, readAll } from '../../../../contracts/kit/log-engine-kit-common.ts';
import { LogWorkload, seededUnit } from '../../../../contracts/kit/log-workload.ts';
import { ReferenceLog } from '../../../../contracts/kit/reference-log.ts';
import type { DurableProgress, LogWriter, SourceLog } from '../../../../contracts/log-engine.ts';
import type { Position } from '../../../../contracts/position.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { FaultyFiles, type Fault } from '../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom, SimulatedClock, type TestRuntime } from '../../../fixtures/runtime.ts';
import { keepOfName, mustBeKept, type KeepById } from './base/kept-log.ts';
import { noLock } from './no-lock.ts';
import { TailReader } from './tail-reader.ts';

/** A table of each kind. */
const keep: KeepById = (tableId) => [{ kind: 'compact' as const }, { kind: 'all' as const }, { kind: 'window' as const, ageMs: 200 }][tableId - 1] ?? { kind: 'compact' };

const OPTIONS = { segmentBytes: 3000, unsyncedBytes: 4000, recentBytes: 1500, idleMs: 5, lock: noLock };

export interface CycleOptions {
  /** Steps of work before the cycle ends by itself. */
  readonly steps: number;
  /** The changing operation in which the process dies; null: it is killed after the last step. */
  readonly crashAt: number | null;
  readonly kind: 'process' | 'machine';
  readonly faults?: readonly Fault[];
  /** The oldest history is folded into the base meanwhile, at random moments, beside the writer. Default: never. */
  readonly compacts?: boolean;
  /** Bytes that the disk takes in this life before it is full; it has room again at some later failure. Null: no end. */
  readonly room?: number | null;
}

/**
 * One log through any number of lives. A life ends in a crash; the next one must find exactly a prefix of what was
 * appended, whole transactions only, with everything that was told durable.
 */
export class CrashRun {
  readonly #unit: () => number;
  readonly #workload: LogWorkload;
  #files: FaultyFiles;
  #reference = new ReferenceLog();
  #reader: TailReader | null = null;
  #told: DurableProgress = { highWatermark: 0, position: null };
  #checkpoint: Checkpoint | null = null;
  #compacting: Promise<unknown> = Promise.resolve();
  /** Of the last life. */
  #clock = new SimulatedClock();
  /** The source position that was appended last; nothing beyond it can be found. */
  #appended = 0;

  constructor(seed: number) {
    this.#unit = seededUnit(seed);
    this.#files = new FaultyFiles(seededRandom(seed));
    this.#workload = new LogWorkload({ unit: this.#unit, tables: 3, valueBytes: 200, pace: 1000 });
  }

  /** Changing operations of the life that has just ended. */
  operations = 0;

  /** Lives until the crash, and looks at what the next process finds. */
  async cycle(options: CycleOptions): Promise<void> {
    const files = this.#files;
    for (const fault of options.faults ?? []) files.fail(fault);
    files.capacity = files.used + (options.room ?? Number.POSITIVE_INFINITY);
    const died = new Promise<void>((resolve) => {
      files.crashAt(options.crashAt ?? Number.POSITIVE_INFINITY, resolve);
    });
    const living = this.#live(options.steps, options.compacts === true);
    living.catch(() => undefined);
    await Promise.race([died, living]);
    files.kill();
    await living.catch((error: unknown) => {
      if (!isCrash(error)) throw error;
    });
    await this.#endReader();
    await this.#compacting;
    this.operations = files.operations;
    this.#files = files.crash(options.kind);
    this.#files.capacity = Number.POSITIVE_INFINITY;
    await this.#check();
  }

  async #live(steps: number, compacts: boolean): Promise<void> {
    const clock = new SimulatedClock(Math.ceil(this.#workload.time / 1000));
    this.#clock = clock;
    const runtime = createTestRuntime({ files: this.#files, clock, seed: Math.floor(this.#unit() * 1e9) });
    let [engine, log] = await this.#openLog(runtime);
    let writer = await this.#insist(() => this.#openWriter(log));
    let isClosed = false;
    for (let step = 0; step < steps; step++) {
      const dice = this.#unit();
      try {
        if (compacts && dice > 0.9) this.#compact(log);
        else if (dice < 0.04) await this.#rollback(writer);
        else if (dice < 0.07) await writer.flush();
        else if (dice < 0.1) await clock.advance(20);
        else if (dice < 0.12) {
          await writer[Symbol.asyncDispose]();
          writer = await this.#reopenWriter(log);
        } else if (dice < 0.14) {
          isClosed = true;
          await engine[Symbol.asyncDispose]();
          [engine, log] = await this.#openLog(runtime);
          isClosed = false;
          writer = await this.#reopenWriter(log);
        } else await this.#append(writer);
        this.#checkpoint = this.#checkpointOf(log);
      } catch (error) {
        this.#pass(error);
        await unlessInjected(writer[Symbol.asyncDispose]());
        // What a hub does after a failed write: a new writer, and the source sends again what is not in the log.
        if (isClosed || this.#unit() < 0.5) {
          await unlessInjected(engine[Symbol.asyncDispose]());
          [engine, log] = await this.#openLog(runtime);
          isClosed = false;
        }
        writer = await this.#insist(() => this.#reopenWriter(log));
      }
    }
  }

  async #openLog(runtime: TestRuntime): Promise<[EmbeddedLogEngine, SourceLog]> {
    const engine = await this.#insist(() => EmbeddedLogEngine.create('/data', runtime, OPTIONS));
    const log = await this.#insist(() => engine.open('shop', { create: true }));
    // What an open log shows to readers is durable.
    const { highWatermark, position } = log.state();
    this.#told = { highWatermark, position };
    return [engine, log];
  }

  /** Beside everything else; what it fails with counts only when nobody has injected it. */
  #compact(log: SourceLog): void {
    const to = Math.floor(this.#unit() * (log.state().highWatermark + 1));
    const from = log.state().horizon;
    this.#compacting = Promise.all([this.#compacting, log.compact(to, { memoryBytes: 1 << 20, share: 1, keep: keepOfName(keep), seals: this.#unit() < 0.3 }, NEVER)]).then(
      ([, horizon]) => expect(horizon).toBeGreaterThanOrEqual(from),
      (error: unknown) => {
        if (!isCrash(error) && !isInjected(error) && !isEnd(error)) throw error;
      },
    );
    this.#compacting.catch(() => undefined);
  }

  /** Tries again until no fault is left to be injected. */
  async #insist<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        this.#pass(error);
      }
    }
  }

  /** An injected failure; somebody may have made room on a full disk meanwhile. Any other error is thrown on. */
  #pass(error: unknown): void {
    if (isCrash(error) || !isInjected(error)) throw error;
    if (this.#unit() < 0.3) this.#files.capacity = Number.POSITIVE_INFINITY;
  }

  async #append(writer: LogWriter): Promise<void> {
    const batch = this.#workload.next();
    if (batch.progress !== null && batch.progress.length > 0) this.#appended = Math.max(this.#appended, numberOf(batch.progress) ?? 0);
    for (const { position } of batch.transactions) this.#appended = Math.max(this.#appended, numberOf(position) ?? 0);
    const expected = this.#reference.append(batch);
    expect(await writer.append(batch)).toEqual(expected);
  }

  async #rollback(writer: LogWriter): Promise<void> {
    const offset = await writer.rollback();
    expect(offset).toBe(this.#reference.rollback());
    this.#workload.resumeAt(this.#reference.catalog());
  }

  async #openWriter(log: SourceLog): Promise<LogWriter> {
    const writer = await log.openWriter((progress) => {
      expect(progress.highWatermark).toBeGreaterThanOrEqual(this.#told.highWatermark);
      this.#told = progress;
    });
    expect(writer.start.highWatermark).toBe(log.state().highWatermark);
    await this.#endReader();
    const { horizon } = log.state();
    this.#reader = new TailReader(log, horizon + Math.floor(this.#unit() * (writer.start.highWatermark - horizon + 1)));
    return writer;
  }

  async #endReader(): Promise<void> {
    const why = (await this.#reader?.end()) ?? null;
    if (why !== null && !isCrash(why) && !isInjected(why) && !isEnd(why)) throw why;
  }

  /**
   * The log may have lost what was not durable: the reference follows it, after the same check as after a crash. It
   * follows only when the writer is open: until then nothing is cut, and what a failed sync has left on the disk may be
   * found there by the next process.
   */
  async #reopenWriter(log: SourceLog): Promise<LogWriter> {
    const prefix = await this.#compare(log);
    const writer = await this.#openWriter(log);
    this.#follow(prefix, log);
    return writer;
  }

  #checkpointOf(log: SourceLog): Checkpoint {
    const { logId, highWatermark } = log.state();
    return { logId, epoch: log.epochAt(highWatermark), offset: highWatermark, position: Buffer.alloc(0), cursor: null, fence: 1 };
  }

  async #check(): Promise<void> {
    const runtime = createTestRuntime({ files: this.#files.fork() });
    const engine = await EmbeddedLogEngine.create('/data', runtime, OPTIONS);
    const log = await engine.open('shop', { create: true });
    this.#follow(await this.#compare(log), log);
    if (this.#checkpoint !== null) expect(log.plan(this.#checkpoint).kind).toBe(this.#checkpoint.offset < log.state().horizon ? 'load' : 'resume');
    await this.#compareStates(log, runtime.files);
    await engine[Symbol.asyncDispose]();
  }

  /** The part of the reference to which the log is equal; whatever was told durable is in it. */
  async #compare(log: SourceLog): Promise<ReferenceLog> {
    // What ended may have left the horizon further on than it has said.
    await this.#compacting;
    const state = log.state();
    const read = await readAll(log, state.horizon);
    const prefix = state.horizon === 0 ? this.#reference.prefix(read.transactions.length) : this.#prefixAt(state);
    expect(state.highWatermark).toBeGreaterThanOrEqual(this.#told.highWatermark);
    if (state.horizon === 0) expect(read.transactions).toEqual(prefix.transactions);
    expect(read.records).toEqual(prefix.read(state.horizon));
    this.#reader?.expectUnchanged(read.records, state.horizon);
    expect(state.highWatermark).toBe(prefix.highWatermark);
    expect(log.catalog().tables()).toEqual(prefix.catalog().tables());
    const position = numberOf(state.position) ?? 0;
    expect(position).toBeGreaterThanOrEqual(numberOf(this.#told.position) ?? 0);
    expect(position).toBeLessThanOrEqual(this.#appended);
    return prefix;
  }

  /** The reference as the log has it: transactions without records show in its position alone. */
  #prefixAt({ highWatermark, position }: Pick<DurableProgress, 'highWatermark' | 'position'>): ReferenceLog {
    const { transactions } = this.#reference;
    let count = transactions.findLastIndex(({ last }) => last <= highWatermark) + 1;
    const beyond = (at: number): boolean => {
      const named = transactions[at - 1];
      return named?.kind === 'source' && named.last === named.after && (numberOf(Buffer.from(named.position, 'hex')) ?? 0) > (numberOf(position) ?? 0);
    };
    while (count > 0 && beyond(count)) count--;
    return this.#reference.prefix(count);
  }

  /** Every table at the horizon and at the end is as the reference folds it, and has the records that it is to keep. */
  async #compareStates(log: SourceLog, files: FileSystem): Promise<void> {
    if (log.state().horizon === 0) return;
    await mustBeKept(log, files, this.#reference, keep, this.#clock.now());
  }

  #follow(prefix: ReferenceLog, log: SourceLog): void {
    this.#reference = prefix;
    this.#workload.resumeAt(log.catalog());
  }
}

function numberOf(position: Position | null): number | null {
  return position === null || position.length !== 8 ? null : Number(Buffer.from(position).readBigUInt64BE(0));
}

/** The simulated process has died: by itself, or as the cause of another error. */
function isCrash(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if (at.name === 'Crashed') return true;
  return false;
}

/** Ends even if an injected fault makes it fail. */
async function unlessInjected(work: PromiseLike<unknown>): Promise<void> {
  await Promise.resolve(work).catch((error: unknown) => {
    if (isCrash(error) || !isInjected(error)) throw error;
  });
}

/** How a reader ends that was told to, or whose log was closed. */
function isEnd(error: unknown): boolean {
  return error instanceof Error && 'code' in error && ['ABORTED', 'LOG_CLOSED'].includes(String(error.code));
}

function isInjected(error: unknown): boolean {
  return error instanceof Error && 'code' in error && ['LOG_WRITE_FAILED', 'LOG_DISK_FULL', 'LOG_READ_FAILED'].includes(String(error.code));
}
