import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName } from '../../contracts/schema.ts';
import { KeyScratch } from './key-scratch.ts';
import type { KeyTemplate } from './key-template.ts';
import { isBefore, type RowVersion } from './row-version.ts';
import { editHash, editJson, type Walk } from './reshape.ts';
import { CHUNK_BYTES, encodeArgument } from './resp/command-buffer.ts';
import type { Reply } from './resp/reply-reader.ts';
import { writeUnlink } from './row-writer.ts';
import type { RowTarget, Span } from './row-target.ts';
import { accepted, arrayOf, bytesOf } from './server-error.ts';
import type { Store } from './store.ts';
import type { TableLayout } from './table-layout.ts';

/** Where the keys of a table are found: by the set of them, if there is one, else by how they begin. */
export interface KeySource {
  readonly template: KeyTemplate;
  readonly index: string | null;
}

/** Rows that are read, edited and written back at a time. */
const PIECE = 200;

/**
 * Works on all rows of a table in pieces: memory does not grow with their number. Only keys that the table's template
 * can have written are touched. Everything written is settled before the next piece is asked for.
 */
export class KeyWalker {
  readonly #store: Store;
  readonly #scratch = new KeyScratch();

  constructor(store: Store) {
    this.#store = store;
  }

  /** The table's keys, in pieces. Some may come twice. */
  async *keysOf(source: KeySource, signal: AbortSignal): AsyncIterable<readonly Buffer[]> {
    const { template, index } = source;
    const found = index === null ? this.#store.scan(template.prefix, signal) : this.#store.members(index, signal);
    for await (const keys of found) {
      yield keys.filter((key) => template.match(key.subarray(this.#store.tagLength)) !== null);
    }
  }

  /** Removes every row of the targets that `takes` names: others are past this. */
  async empty(layout: TableLayout, takes: (target: RowTarget) => boolean, signal: AbortSignal): Promise<number> {
    let removed = 0;
    for await (const keys of this.keysOf(layout, signal)) {
      for (const key of keys) {
        const target = this.#store.targetOf(key);
        if (!takes(target)) continue;
        await this.remove(target, layout, key);
        removed++;
      }
    }
    await this.#store.settle();
    return removed;
  }

  /** Removes one key, from the table's set as well, and says so where the table wants it. */
  async remove(target: RowTarget, layout: Pick<TableLayout, 'index' | 'channel'> | null, key: Buffer): Promise<void> {
    const scratch = this.#scratch.reset();
    scratch.append(key, 0, key.length);
    writeUnlink(target.out, scratch);
    target.seen(scratch);
    if (layout !== null && layout.index !== null) target.remove(layout.index, scratch);
    if (layout !== null && layout.channel !== null) target.publish(encodeArgument(layout.channel), scratch);
    if (target.out.length >= CHUNK_BYTES) await target.push();
  }

  /**
   * Rewrites every row of a table as the walk says, in the partitions that are not past it.
   * @param before how rows stand now
   * @param done the version that the rows have afterwards
   */
  async reshape(before: TableLayout, walk: Walk, done: RowVersion, span: Span, signal: AbortSignal): Promise<number> {
    let rows = 0;
    for await (const keys of this.keysOf(before, signal)) {
      // A stale row is not part of the table as the replay has it: it is written anew later, or swept.
      const wanted = await this.#store.current(keys.filter((key) => this.#isBefore(key, walk.layout, done, span)));
      for (let at = 0; at < wanted.length; at += PIECE) {
        const piece = wanted.slice(at, at + PIECE);
        const values = await this.#store.read(piece, readCommand(before));
        for (const [i, key] of piece.entries()) await this.#rewrite(before, walk, key, values[i] ?? null);
        rows += piece.length;
        await this.#store.settle();
      }
    }
    await this.#store.settle();
    return rows;
  }

  #isBefore(key: Buffer, { schema }: TableLayout, done: RowVersion, span: Span): boolean {
    const target = this.#store.targetOf(key);
    if (!target.wants(schema.tableId, schema.version, span)) return false;
    return isBefore(this.#store.versionsFor(target).versionOf(schema.tableId), done);
  }

  async #rewrite(before: TableLayout, walk: Walk, key: Buffer, value: Reply): Promise<void> {
    const { layout } = walk;
    const target = this.#renamed(before, walk, key);
    const { out } = target;
    const name = this.#scratch;
    const moved = !name.taken().equals(key);
    if (layout.value === 'hash') {
      const pairs = arrayOf(value, 'Redis').map((part) => bytesOf(part, 'Redis'));
      if (pairs.length === 0) return;
      const edit = editHash(pairs, walk);
      const written = moved ? edit.all : edit.changed;
      if (moved && target.replaces) writeUnlink(out, name);
      if (written.length > 0) out.command('HSET', name.taken(), ...written.flat());
      if (!moved && edit.removed.length > 0) out.command('HDEL', name.taken(), ...edit.removed);
    } else {
      const text = accepted(value, 'Redis');
      if (text === null) return;
      const edited = editJson(bytesOf(text, 'Redis'), walk);
      if (edited === null) {
        throw new TidemarkError('REDIS_KEY_TYPE', 'a row is not the JSON object that was written', { where: { table: tableName(before.schema) } });
      }
      if (layout.value === 'json') out.command('SET', name.taken(), edited);
      else out.command('JSON.SET', name.taken(), '$', edited);
    }
    if (layout.ttlMs !== null) out.command('PEXPIRE', name.taken(), String(layout.ttlMs));
    if (moved) target.seen(name);
    if (layout.index !== null) target.add(layout.index, name);
    if (layout.channel !== null) target.publish(encodeArgument(layout.channel), name);
    if (moved) await this.remove(this.#store.targetOf(key), before, key);
    else if (before.index !== null && before.index !== layout.index) target.remove(before.index, name);
    if (out.length >= CHUNK_BYTES) await target.push();
  }

  /** Puts the row's key after the walk into the scratch; answers where it belongs. */
  #renamed(before: TableLayout, walk: Walk, key: Buffer): RowTarget {
    const scratch = this.#scratch;
    this.#store.startKey(scratch);
    const own = key.subarray(this.#store.tagLength);
    if (walk.moves) walk.layout.template.rename(before.template.match(own) ?? [], scratch);
    else scratch.append(own, 0, own.length);
    return this.#store.place(scratch);
  }
}

function readCommand(layout: TableLayout): readonly (string | null)[] {
  if (layout.value === 'hash') return ['HGETALL', null];
  return layout.value === 'json' ? ['GET', null] : ['JSON.GET', null];
}
