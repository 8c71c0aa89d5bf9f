/** Sessions that load loose rows side by side, each in transactions of its own. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName } from '../../contracts/schema.ts';
import type { RecordRef } from '../../contracts/sink.ts';
import { CheckpointRefused } from '../relational/apply-line.ts';
import { chunks } from '../relational/chunks.ts';
import { runStatements } from './batch-transaction.ts';
import { checkpointTable } from './checkpoint-table.ts';
import { sinkError } from './errors.ts';
import type { LooseRows } from './loose-rows.ts';
import { holdLock } from './opening.ts';
import { loadRows } from './row-text.ts';
import type { Session } from './session.ts';
import { loadStatement } from './table-statements.ts';
import type { TablePlan } from './table-plan.ts';

/** Of the log; what one statement loads. Made of text only when its turn comes. */
const PIECE = { rows: 1 << 16, bytes: 1 << 20 };
/** A transaction is committed once it holds so many bytes: while one session waits for the disk, the others load. */
const COMMIT_BYTES = 4 << 20;

export interface LoadPoolParts {
  /** Has the checkpoint: the others are of the same server, or refused. Idle while rows are loaded. */
  readonly beside: Session;
  /** Opens one more session. */
  readonly open: (signal: AbortSignal) => Promise<Session>;
  readonly ownDatabase: string;
  /** Locks of the server's by which the next owner of the sink finds the sessions; one for each. */
  readonly locks: readonly string[];
}

interface Piece {
  readonly plan: TablePlan;
  readonly refs: readonly RecordRef[];
}

/**
 * The sessions are opened when they are first needed. Each of their transactions begins by locking the checkpoint's row,
 * shared, where this hub left it: another hub takes the sink over before it or after it, and no row of this one comes later.
 * Not re-entrant.
 */
export class LoadPool {
  readonly #parts: LoadPoolParts;
  readonly #life = new AbortController();
  #loaders: Promise<Loader[]> | null = null;
  #opened: readonly Loader[] = [];

  constructor(parts: LoadPoolParts) {
    this.#parts = parts;
  }

  /**
   * Resolves when all rows are loaded; a part of them may not be committed yet. Rows of a later call come after them.
   * @param owned of the checkpoint's row: true where this hub left it
   * @throws CheckpointRefused, TidemarkError; some of the rows may be committed all the same
   */
  async load(tables: readonly LooseRows[], owned: string): Promise<void> {
    this.#loaders ??= this.#open();
    const loaders = await this.#loaders;
    const work = new Work(tables, loaders.length);
    await all(loaders.map((loader, index) => loader.load(work, index, owned)));
  }

  /** Resolves when all that was loaded is committed. @throws TidemarkError */
  async commit(): Promise<void> {
    await all(this.#opened.map((loader) => loader.commit()));
  }

  /** Gives up what is not committed. */
  async rollback(): Promise<void> {
    await Promise.all(this.#opened.map((loader) => loader.rollback()));
  }

  cut(why: TidemarkError): void {
    this.#life.abort(why);
    for (const { session } of this.#opened) session.cut(why);
  }

  async close(): Promise<void> {
    this.#life.abort(new TidemarkError('ABORTED', 'the sink was closed'));
    await this.#loaders?.catch(() => undefined);
    await Promise.all(this.#opened.map(({ session }) => session[Symbol.asyncDispose]()));
  }

  async #open(): Promise<Loader[]> {
    const { beside, locks, open, ownDatabase } = this.#parts;
    const { signal } = this.#life;
    const sessions = await Promise.allSettled(locks.map(() => open(signal)));
    this.#opened = sessions.flatMap((one) => (one.status === 'fulfilled' ? [new Loader(one.value, ownDatabase)] : []));
    for (const one of sessions) if (one.status === 'rejected') throw one.reason;
    const wanted = await serverOf(beside);
    await all(this.#opened.map(({ session }, index) => session.within(signal, async () => {
      if ((await serverOf(session)) !== wanted) throw new TidemarkError('SINK_UNREACHABLE', 'another server of the replica\'s address answers meanwhile');
      if (await holdLock(session, locks[index] ?? '', 0)) return;
      throw new TidemarkError('REPLICA_BUSY', 'the lock that names a loading session is held by somebody else');
    })));
    return [...this.#opened];
  }
}

/** Servers that replicate from each other have numbers of their own. */
async function serverOf(session: Session): Promise<string> {
  const [row] = await session.rows("SELECT CONCAT_WS(' ', @@server_id, @@port, @@hostname) AS server");
  return row?.['server'] ?? '';
}

/** Waits for all of them, also when one has failed: none is at work behind the caller's back. */
async function all(work: readonly Promise<void>[]): Promise<void> {
  for (const one of await Promise.allSettled(work)) if (one.status === 'rejected') throw one.reason;
}

/** Pieces in runs of neighbours, one for each session; who is done takes from the end of the longest run. */
class Work {
  readonly #runs: Piece[][];

  constructor(tables: readonly LooseRows[], runs: number) {
    const pieces = tables.flatMap(({ plan, refs }) => chunks(refs, PIECE).map((some): Piece => ({ plan, refs: some })));
    const each = Math.ceil(pieces.length / runs);
    this.#runs = Array.from({ length: runs }, (_, index) => pieces.slice(index * each, (index + 1) * each));
  }

  take(run: number): Piece | null {
    const own = this.#runs[run]?.shift();
    if (own !== undefined) return own;
    return this.#runs.reduce((longest, one) => (one.length > longest.length ? one : longest)).pop() ?? null;
  }

  /** Nothing of it is begun any more. */
  stop(): void {
    for (const run of this.#runs) run.length = 0;
  }
}

class Loader {
  readonly session: Session;
  readonly #ownDatabase: string;
  #isOpen = false;
  #bytes = 0;

  constructor(session: Session, ownDatabase: string) {
    this.session = session;
    this.#ownDatabase = ownDatabase;
  }

  async load(work: Work, run: number, owned: string): Promise<void> {
    try {
      for (let piece = work.take(run); piece !== null; piece = work.take(run)) await this.#piece(piece, owned);
    } catch (error) {
      work.stop();
      throw error;
    }
  }

  async commit(): Promise<void> {
    if (!this.#isOpen) return;
    await this.session.run('COMMIT');
    this.#isOpen = false;
    this.#bytes = 0;
  }

  async rollback(): Promise<void> {
    if (!this.#isOpen || this.session.lost !== null) return;
    this.#isOpen = false;
    await this.session.run('ROLLBACK');
  }

  async #piece({ plan, refs }: Piece, owned: string): Promise<void> {
    try {
      const data = loadRows(refs, plan);
      await this.#begin(owned);
      await runStatements(this.session, [loadStatement(plan, [data])]);
      this.#bytes += data.length;
      if (this.#bytes >= COMMIT_BYTES) await this.commit();
    } catch (error) {
      throw error instanceof CheckpointRefused ? error : sinkError(error, { table: tableName(plan.schema) });
    }
  }

  async #begin(owned: string): Promise<void> {
    if (this.#isOpen) return;
    await this.session.run('START TRANSACTION');
    this.#isOpen = true;
    const rows = await this.session.rows(`SELECT 1 FROM ${checkpointTable(this.#ownDatabase)} WHERE ${owned} LOCK IN SHARE MODE`);
    if (rows.length !== 1) throw new CheckpointRefused('the checkpoint is not where this hub left it');
  }
}
