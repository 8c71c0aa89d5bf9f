import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict';
import { vi } from 'vitest';
import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import { describeError } from '../../../contracts/errors/error.ts';
import { KIT_COLUMNS } from '../../../contracts/kit/sink-kit-rows.ts';
import { type ModelTable, SinkModel } from '../../../contracts/kit/sink-model.ts';
import type { Swap } from '../../../contracts/rebuild.ts';
import type { Sink, SinkBatch } from '../../../contracts/sink.ts';
import { quoteName } from '../../../sinks/mysql/sql.ts';
import type { MysqlServer } from '../../fixtures/mysql.ts';
import { type ReplicaPlace, replicaPlace } from './replica-place.ts';
import { type Fault, StatementFaults } from './statement-faults.ts';

const ROWS = 40;

/** A replica that is served and wrong in places, and a rebuild beside it that is complete. */
export class ShadowStand implements AsyncDisposable {
  readonly place: ReplicaPlace;
  readonly model = new SinkModel();
  readonly signal: AbortSignal = new AbortController().signal;
  readonly tables: ModelTable[];
  readonly log: SinkBatch[] = [];

  private constructor(place: ReplicaPlace) {
    this.place = place;
    this.tables = ['one', 'two'].map((name) => this.model.createTable('kit', name, KIT_COLUMNS, ['id']));
  }

  static async open(server: MysqlServer): Promise<ShadowStand> {
    const stand = new ShadowStand(await replicaPlace(server));
    for (const table of stand.tables) for (let id = 1; id <= ROWS; id++) stand.model.insert(table, [String(id), `row ${id}`, null, null, 't']);
    stand.log.push(stand.model.batch());
    const [one] = stand.tables;
    if (one !== undefined) stand.model.delete(one, one.expected()[0] ?? []);
    stand.log.push(stand.model.batch());
    await stand.#fill(stand.place.sink());
    await stand.place.reader.query(`DELETE FROM ${stand.#name('one')} WHERE id > 30; UPDATE ${stand.#name('two')} SET name = 'wrong'; CREATE INDEX own ON ${stand.#name('one')} (name(20), flag)`);
    await stand.#fill(stand.place.sink().shadow.open(() => true));
    return stand;
  }

  request(): Swap {
    const last = this.log.at(-1);
    ok(last !== undefined);
    const to: Checkpoint = { logId: this.model.logId, epoch: last.epoch, offset: last.to, position: last.position, cursor: null, fence: 1 };
    return { from: to, to, tables: this.tables.map(({ schema }) => schema), whole: true };
  }

  /** Everything is as the log has it; the sink goes on from there, and nothing is left of the rebuild. */
  async expectSwapped(): Promise<void> {
    for (const table of this.tables) deepStrictEqual(printed(await this.place.rows(table.schema)), printed(table.expected()), table.schema.name);
    const indexes = await this.place.reader.query(`SHOW INDEX FROM ${this.#name('one')} WHERE Key_name = 'own'`);
    strictEqual(indexes.length, 2, 'the index that was added is there');
    deepStrictEqual(await this.place.reader.query("SHOW DATABASES LIKE 'tidemark\\_shadow\\_replica'"), []);
    await using sink = this.place.sink();
    strictEqual((await sink.open(this.model.start(), this.signal))?.offset, this.log.at(-1)?.to);
    const [one] = this.tables;
    if (one !== undefined) this.model.insert(one, ['1000', 'goes on', null, null, 'f']);
    const { accepted, durable } = sink.apply(this.model.batch(), this.signal);
    await Promise.all([accepted, durable]);
    if (one !== undefined) deepStrictEqual(printed(await this.place.rows(one.schema)), printed(one.expected()));
  }

  /** Readers have all of the old rows or all of the new. */
  async expectWhole(): Promise<void> {
    const [wrong] = await this.place.reader.query(`SELECT COUNT(*) AS n FROM ${this.#name('two')} WHERE name = 'wrong'`);
    const [rows] = await this.place.reader.query(`SELECT COUNT(*) AS n FROM ${this.#name('one')}`);
    ok((wrong?.['n'] === String(ROWS) && rows?.['n'] === '29') || (wrong?.['n'] === '0' && rows?.['n'] === String(ROWS - 1)), `${wrong?.['n']} wrong rows beside ${rows?.['n']}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.place.reader.query('DROP DATABASE IF EXISTS tidemark_shadow_replica');
    await this.place[Symbol.asyncDispose]();
  }

  async #fill(sink: Sink): Promise<void> {
    await using open = sink;
    await open.open(this.model.start(), this.signal);
    for (const batch of this.log) {
      const { accepted, durable } = open.apply(batch, this.signal);
      await Promise.all([accepted, durable]);
    }
  }

  #name(table: string): string {
    return `${quoteName(this.place.database)}.${quoteName(table)}`;
  }
}

/** A swap that is cut off at the n-th statement, and asked for again. Answers false when there is no such statement. */
export async function swapWithFault(server: MysqlServer, at: number, fault: Fault): Promise<boolean> {
  await using stand = await ShadowStand.open(server);
  const faults = new StatementFaults(at, fault);
  try {
    await stand.place.sink().shadow.swap(stand.request(), stand.signal);
  } catch (error) {
    if (!faults.happened) throw error;
  } finally {
    vi.restoreAllMocks();
  }
  await stand.expectWhole();
  try {
    if (at % 2 === 0) await openBetween(stand);
    await stand.place.sink().shadow.swap(stand.request(), stand.signal);
    await stand.expectSwapped();
  } catch (error) {
    throw new Error(`${fault} statement ${at}: ${describeError(error)}`, { cause: error });
  }
  return faults.happened;
}

/** The sink is opened between: it finishes what was begun. */
async function openBetween({ place, model, signal }: ShadowStand): Promise<void> {
  await using sink = place.sink();
  await sink.open(model.start(), signal);
}

function printed(rows: readonly unknown[] | null): string[] {
  return (rows ?? []).map((row) => JSON.stringify(row)).toSorted();
}
