import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BatchBuilder, type ChangeBatch } from '../../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { Flag, Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { buildImage, PLACEHOLDER, readImage, type CellValue } from '../../../../contracts/row-image.ts';
import type { Random } from '../../../../contracts/runtime.ts';
import type { TableSchema } from '../../../../contracts/schema.ts';
import { seededRandom } from '../../../fixtures/runtime.ts';
import { below } from '../../../fault/hard-workload.ts';
import { keyOf, MODEL_SCHEMA } from './copy-model.ts';
import { positionOf } from './numbered-positions.ts';
import { Rig } from './whole-rows-rig.ts';

const NONE = Buffer.alloc(0);
/** Any row of such a table may come without columns. */
const SCHEMA: TableSchema = { ...MODEL_SCHEMA, dialect: 'mysql' };
const FORGOTTEN = new AbortController().signal;

/** A record as the connector makes it, and the row that it must stand for in the log. */
interface Step {
  readonly op: Op;
  readonly flags: number;
  readonly key: number;
  readonly cells: readonly CellValue[] | null;
  readonly row: readonly CellValue[] | null;
}

function step(op: Op, key: number, row: readonly CellValue[] | null, options: { readonly without?: readonly number[]; readonly flags?: number } = {}): Step {
  const { without = [], flags = 0 } = options;
  const cells = row === null ? null : row.map((cell, column) => (without.includes(column) ? PLACEHOLDER : cell));
  return { op, flags: flags | (without.length > 0 ? Flag.incomplete | Flag.wide : 0), key, cells, row };
}

const put = (key: number, note: string, big: string): Step => step(Op.create, key, [String(key), note, big]);
const part = (key: number, note: string, big: string): Step => step(Op.update, key, [String(key), note, big], { without: [2] });

function write(builder: BatchBuilder, { op, flags, key, cells }: Step): void {
  builder.record(op, flags, 1, 1, op === Op.truncate ? NONE : keyOf(key), NONE, cells === null ? NONE : buildImage(cells));
}

function rowsOf(batch: ChangeBatch): (CellValue[] | null)[] {
  const view = new RecordView();
  const rows: (CellValue[] | null)[] = [];
  for (view.reset(batch.records); view.next(); ) rows.push(view.op !== Op.control && view.hasAfter ? readImage(view.after()) : null);
  return rows;
}

let position = 1_000;

/** One transaction in batches; again from its beginning when that is asked for. */
async function transact(rig: Rig, batches: readonly (readonly Step[])[]): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    try {
      const builder = new BatchBuilder(1 << 14);
      builder.begin('source', 1, 0);
      for (const [at, steps] of batches.entries()) {
        for (const one of steps) write(builder, one);
        if (at === batches.length - 1) builder.commit(positionOf(++position));
        expect(rowsOf(await rig.write(builder.take()))).toEqual(steps.map(({ row }) => row));
      }
      expect(rig.catalog.table(1)?.state.state).toBe('consistent');
      return attempt;
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'WHOLE_ROWS_AGAIN' || attempt > 1) throw error;
      await rig.rollback();
    }
  }
}

async function compact(rig: Rig): Promise<void> {
  await rig.flush();
  await rig.log.compact(rig.log.state().highWatermark, { memoryBytes: 1 << 20, share: 1, seals: true }, FORGOTTEN);
}

describe('rows of a source that leaves columns out of any row', () => {
  it('are not in the index before one comes without columns; then they are completed, and go on to be', async () => {
    await using rig = await Rig.start(SCHEMA);
    await transact(rig, [[put(1, 'a', 'one'), put(2, 'b', 'two'), put(3, 'c', 'three')]]);
    await rig.flush();
    expect(rig.rows.mayHave(1)).toBe(false);
    await transact(rig, [[part(1, 'a2', 'one')]]);
    expect(rig.rows.mayHave(1)).toBe(true);
    await transact(rig, [[step(Op.update, 1, ['1', 'a3', 'other'])], [step(Op.update, 2, ['2', 'b2', 'two'], { without: [2] })]]);
    // The whole row between the two counts, not the one that was completed before it.
    await transact(rig, [[part(1, 'a4', 'other')]]);
    await rig.flush();
    await rig.close();
    await rig.open();
    await transact(rig, [[step(Op.update, 1, ['1', 'a5', 'newest'])]]);
    await rig.flush();
    await rig.close();
    await rig.open();
    await transact(rig, [[part(1, 'a6', 'newest'), part(3, 'c2', 'three')]]);
  });

  it('are completed from the base', async () => {
    await using rig = await Rig.start(SCHEMA);
    await transact(rig, [[put(1, 'a', 'one'), put(2, 'b', 'two')]]);
    await compact(rig);
    await transact(rig, [[part(1, 'a2', 'one')]]);
    await compact(rig);
    await transact(rig, [[part(1, 'a3', 'one'), part(2, 'b2', 'two')]]);
  });

  it('are completed in a transaction that is larger than a batch: it is read once more', async () => {
    await using rig = await Rig.start(SCHEMA);
    await transact(rig, [[put(1, 'a', 'one')]]);
    expect(await transact(rig, [[put(2, 'b', 'two'), step(Op.update, 1, ['1', 'a', 'within'])], [part(1, 'a2', 'within'), part(2, 'b2', 'two')]])).toBe(2);
    expect(await transact(rig, [[put(3, 'c', 'three')], [part(3, 'c2', 'three')]])).toBe(1);
  });

  it('that are gone are not completed from the base', async () => {
    await using rig = await Rig.start(SCHEMA);
    await transact(rig, [[put(1, 'a', 'one'), put(2, 'b', 'two')]]);
    await compact(rig);
    await transact(rig, [[part(1, 'a2', 'one'), step(Op.delete, 2, null)]]);
    await rig.flush();
    await rig.close();
    await rig.open();
    await rig.append((builder) => write(builder, part(2, 'b2', 'two')));
    expect(rig.catalog.table(1)?.state).toMatchObject({ state: 'stopped', code: 'WHOLE_ROW_MISSING', recopy: true });
  });

  it('of a table that is copied are not completed from what was before the copy', async () => {
    await using rig = await Rig.start(SCHEMA);
    await transact(rig, [[put(1, 'a', 'one'), part(1, 'a2', 'one')]]);
    await rig.control({ type: 'copying', reason: 'recopy', copyState: '' });
    await rig.append((builder) => write(builder, part(1, 'a3', 'one')));
    await rig.flush();
    expect(await rig.rows.repairKeys(1, 10)).toEqual([keyOf(1)]);
    await rig.append((builder) => write(builder, step(Op.read, 1, ['1', 'a3', 'read'])), 'hub');
    await rig.control({ type: 'copied', rows: 1 });
    await transact(rig, [[part(1, 'a4', 'read')]]);
  });
});

/** What a server with sessions of every row image does to one table. */
class Server {
  readonly #random: Random;
  readonly #rows = new Map<number, CellValue[]>();
  /** The server's own setting leaves columns out, too: the connector flags every row. */
  flagsAll = false;

  constructor(random: Random) {
    this.#random = random;
  }

  transaction(): Step[][] {
    const batches: Step[][] = [[]];
    for (let left = 1 + below(this.#random, 6); left > 0; left--) {
      batches.at(-1)?.push(...this.#change());
      if (below(this.#random, 5) === 0) batches.push([]);
    }
    return batches;
  }

  /** Each row as it is, for a copy. */
  read(): Step[] {
    return [...this.#rows].map(([key, row]) => step(Op.read, key, row, { flags: this.#flags() }));
  }

  #flags(): number {
    return this.flagsAll ? Flag.wide : 0;
  }

  #change(): Step[] {
    const random = this.#random;
    const key = below(random, 12);
    const old = this.#rows.get(key);
    const row: CellValue[] = [String(key), `n${below(random, 1_000)}`, below(random, 6) === 0 ? null : `b${below(random, 1_000)}`];
    if (old === undefined) {
      this.#rows.set(key, row);
      return [step(Op.create, key, row, { flags: this.#flags() })];
    }
    const kind = below(random, 20);
    if (kind === 0) {
      this.#rows.clear();
      return [step(Op.truncate, 0, null)];
    }
    if (kind < 4) {
      this.#rows.delete(key);
      return [step(Op.delete, key, null)];
    }
    const without = below(random, 2) === 0 ? [] : [1 + below(random, 2)];
    for (const column of without) row[column] = old[column] ?? null;
    const to = kind < 7 ? below(random, 12) : key;
    if (to === key || this.#rows.has(to)) {
      this.#rows.set(key, row);
      return [step(Op.update, key, row, { without, flags: this.#flags() })];
    }
    const moved = [String(to), ...row.slice(1)];
    this.#rows.delete(key);
    this.#rows.set(to, moved);
    return [step(Op.delete, key, null, { flags: Flag.keyChange }), step(Op.create, to, moved, { without, flags: this.#flags() | Flag.keyChange })];
  }
}

async function happen(rig: Rig, server: Server, random: Random): Promise<void> {
  const what = below(random, 14);
  if (what === 0) await compact(rig);
  if (what === 1) server.flagsAll = !server.flagsAll;
  if (what === 2 || what === 3) await rig.flush();
  if (what === 4 || what === 5) {
    await rig.flush();
    await rig.close();
    if (what === 5) await rm(join(rig.directory.path, 'index'), { recursive: true });
    await rig.open();
  }
  if (what === 6) {
    await rig.control({ type: 'copying', reason: 'recopy', copyState: '' });
    await rig.append((builder) => builder.record(Op.truncate, 0, 1, 1, NONE, NONE, NONE), 'hub');
    for (const row of server.read()) await rig.append((builder) => write(builder, row), 'hub');
    await rig.control({ type: 'copied', rows: 0 });
  }
}

it('property: each is whole in the log, whatever sessions leave out, over restarts, folds, copies and a lost index', { timeout: 60_000 }, async () => {
  const seed = Date.now() % 1_000_000;
  const limit = performance.now() + 3_000;
  for (let run = 0; run < 40 && performance.now() < limit; run++) {
    const random = seededRandom(seed + run);
    await using rig = await Rig.start(SCHEMA);
    const server = new Server(random);
    try {
      for (let n = 0; n < 40; n++) {
        await transact(rig, server.transaction());
        await happen(rig, server, random);
      }
    } catch (cause) {
      throw new Error(`seed ${seed + run}`, { cause });
    }
  }
});
