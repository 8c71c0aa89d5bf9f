import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Flag } from '../../../../contracts/op.ts';
import { writeI64, writeU64 } from '../bytes.ts';
import type { EntryCursor } from '../runs/run-format.ts';
import { compareSpans } from '../runs/span-order.ts';
import { EntryKind, VALUE_HEADER, ValueView } from './base-entry.ts';

export interface NetOptions {
  /** Nothing older lies below: what only voids older entries is left out. */
  readonly isBottom: boolean;
  /** False: entries of the table are left out. */
  readonly keeps: (tableId: number) => boolean;
  /** Rows of the table that were last changed at or below the offset have been dropped. Default: 0, none was. */
  readonly rowsAfter?: (tableId: number) => Offset;
  /** Dropped rows that may hold out-of-line values are there all the same, for who completes rows. Default: false. */
  readonly keepsWide?: boolean;
}

/**
 * The net of entries that come in order of table and key, any number for each key: of a key the change with the
 * greatest offset counts, rows of keyless tables are summed, and what stands before the emptying of its table is void.
 * The order of entries with the same key does not matter, since their offsets tell. Does not own its input.
 *
 * The current entry stands in a buffer of the cursor's own until the next `next`.
 */
export class NetCursor implements EntryCursor {
  bytes: Buffer = Buffer.allocUnsafe(4096);
  tableId = 0;
  keyStart = 0;
  keyEnd = 0;
  valueEnd = 0;
  readonly #input: EntryCursor;
  readonly #options: NetOptions;
  readonly #value = new ValueView();
  /** The input stands at an entry that is not in the current one yet. */
  #isAt = false;
  #hasEnded = false;
  #holds = false;
  /** Of the entry that is held. */
  #kind = 0;
  #offset = 0;
  #count = 0;
  #flags = 0;
  /** Of the table of the entry that is held. */
  #rowsAfter: Offset = 0;
  #emptiedTable = -1;
  #emptiedAt = 0;

  constructor(input: EntryCursor, options: NetOptions) {
    this.#input = input;
    this.#options = options;
  }

  /** @throws TidemarkError `LOG_CORRUPT` */
  next(): boolean | Promise<boolean> {
    for (;;) {
      if (!this.#isAt && !this.#hasEnded) {
        const more = this.#input.next();
        if (more instanceof Promise) return this.#nextAfter(more);
        this.#arrive(more);
      }
      if (!this.#hasEnded && !this.#holds) this.#take();
      else if (!this.#hasEnded && this.#isSame()) this.#combine();
      else if (!this.#holds) return false;
      else {
        this.#holds = false;
        if (this.#counts()) return true;
      }
    }
  }

  async #nextAfter(moving: Promise<boolean>): Promise<boolean> {
    this.#arrive(await moving);
    return this.next();
  }

  #arrive(hasEntry: boolean): void {
    this.#isAt = hasEntry;
    this.#hasEnded = !hasEntry;
  }

  /** The input's entry becomes the one that is held. */
  #take(): void {
    const { bytes, tableId, keyStart, keyEnd, valueEnd } = this.#input;
    const size = valueEnd - keyStart;
    if (size > this.bytes.length) this.bytes = Buffer.allocUnsafe(Math.max(size, this.bytes.length * 2));
    bytes.copy(this.bytes, 0, keyStart, valueEnd);
    if (tableId !== this.tableId) this.#rowsAfter = this.#options.rowsAfter?.(tableId) ?? 0;
    this.tableId = tableId;
    this.keyEnd = keyEnd - keyStart;
    this.valueEnd = size;
    const { kind, offset, count, flags } = this.#value.read(bytes, keyEnd, valueEnd);
    this.#kind = kind;
    this.#flags = flags;
    this.#offset = offset;
    this.#count = this.#isVoid(tableId, offset) ? 0 : count;
    this.#isAt = false;
    this.#holds = true;
  }

  #isSame(): boolean {
    const { bytes, tableId, keyStart, keyEnd } = this.#input;
    return tableId === this.tableId && keyEnd - keyStart === this.keyEnd && compareSpans(bytes, keyStart, keyEnd, this.bytes, 0, this.keyEnd) === 0;
  }

  #combine(): void {
    const { bytes, keyEnd, valueEnd } = this.#input;
    const { kind, offset, count } = this.#value.read(bytes, keyEnd, valueEnd);
    if ((kind === EntryKind.bag) !== (this.#kind === EntryKind.bag)) throw new TidemarkError('LOG_CORRUPT', 'a table of the base has rows with and without a key');
    if (kind !== EntryKind.bag) {
      if (offset > this.#offset) this.#take();
      this.#isAt = false;
      return;
    }
    if (!this.#isVoid(this.tableId, offset)) this.#count += count;
    this.#offset = Math.max(this.#offset, offset);
    this.#isAt = false;
  }

  #isKeptWide(): boolean {
    return this.#options.keepsWide === true && (this.#flags & Flag.wide) !== 0;
  }

  #isVoid(tableId: number, offset: number): boolean {
    return tableId === this.#emptiedTable && offset < this.#emptiedAt;
  }

  /** Whether the entry that was held is one of the net; completes it. */
  #counts(): boolean {
    const { isBottom, keeps } = this.#options;
    if (!keeps(this.tableId)) return false;
    switch (this.#kind) {
      case EntryKind.emptied:
        this.#emptiedTable = this.tableId;
        this.#emptiedAt = this.#offset;
        return !isBottom;
      case EntryKind.bag:
        if (this.#count === 0) return false;
        writeU64(this.bytes, this.#offset, this.keyEnd + 8);
        writeI64(this.bytes, this.#count, this.keyEnd + VALUE_HEADER);
        return true;
      case EntryKind.deleted:
        return !isBottom && !this.#isVoid(this.tableId, this.#offset);
      default:
        return (this.#offset > this.#rowsAfter || this.#isKeptWide()) && !this.#isVoid(this.tableId, this.#offset);
    }
  }
}
