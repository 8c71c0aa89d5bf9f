import { join } from 'node:path';
import type { Catalog } from '../../../../contracts/catalog.ts';
import { asTidemarkError, TidemarkError } from '../../../../contracts/errors/error.ts';
import type { FileSystem, LogFile } from '../../../../contracts/runtime.ts';
import { readU64 } from '../bytes.ts';
import { runFile } from '../base/base-files.ts';
import type { BaseRun } from '../manifest.ts';
import { EntryWalker, readBlock, readRunFooter, RUN_FOOTER, RUN_HEADER } from '../runs/run-format.ts';
import { mendOf, type CheckContext, type FindingKind, type Stretch } from './finding.ts';
import { namesOf } from './table-names.ts';

export interface RunCheckParts {
  readonly files: FileSystem;
  readonly directory: string;
  readonly context: CheckContext;
  /** As of the horizon. */
  readonly catalog: Catalog;
}

/** What the manifest says of a run. */
export type CheckedRun = Pick<BaseRun, 'number' | 'entries' | 'bytes'>;

/** What is odd about an entry; null: nothing. @throws TidemarkError `LOG_CORRUPT` for what is no entry */
export type EntryFault = (entry: EntryWalker) => string | null;

/** The first and the last table of which a block may have entries. */
interface Reach {
  readonly from: number;
  readonly to: number;
}

const ALL: Reach = { from: 0, to: Number.MAX_SAFE_INTEGER };

/**
 * Walks the tree of one run, block by block, and goes on behind a block that is damaged: what an index block points to is
 * lost with it. One block per level in memory.
 */
export class RunCheck {
  readonly #parts: RunCheckParts;
  readonly #run: CheckedRun;
  readonly #path: string;
  readonly #fault: EntryFault;
  readonly #walker = new EntryWalker();
  readonly #told = new Set<string>();
  #isWhole = true;
  #entries = 0;
  #plainBytes = 0;
  #blockBytes = 0;
  #lastTable = -1;
  #lastKey: Buffer = Buffer.alloc(0);

  constructor(parts: RunCheckParts, run: CheckedRun, fault: EntryFault) {
    this.#parts = parts;
    this.#run = run;
    this.#fault = fault;
    this.#path = join(parts.directory, runFile(run.number));
  }

  /** True when all of the run could be read. */
  async check(): Promise<boolean> {
    const { files } = this.#parts;
    if (!(await files.exists(this.#path))) {
      this.#found('damage', 'the file is missing', null, ALL);
      return false;
    }
    const file = await files.open(this.#path, 'read');
    try {
      await this.#file(file);
    } catch (error) {
      this.#damaged(error, null, ALL);
    } finally {
      await file.close();
    }
    return this.#isWhole;
  }

  async #file(file: LogFile): Promise<void> {
    const { root, height, entries, plainBytes } = await readRunFooter(file, this.#path);
    const size = await file.size();
    if (size !== this.#run.bytes) this.#found('damage', `it has ${size} bytes instead of ${this.#run.bytes}`, null, ALL);
    if (root !== 0) await this.#block(file, root, height, ALL);
    if (!this.#isWhole) return;
    if (entries !== this.#run.entries || this.#entries !== entries || this.#plainBytes !== plainBytes) {
      this.#found('order', `it has ${this.#entries} entries, its footer says ${entries}, the manifest ${this.#run.entries}`, null, ALL);
    }
    if (this.#blockBytes + RUN_HEADER + RUN_FOOTER !== size) this.#found('order', 'it has bytes that belong to no block', null, ALL);
  }

  /** A block and all below it. */
  async #block(file: LogFile, position: number, level: number, reach: Reach): Promise<void> {
    const { context } = this.#parts;
    context.signal.throwIfAborted();
    let plain: Buffer;
    try {
      const block = await readBlock(file, position, this.#path);
      plain = block.plain;
      this.#blockBytes += block.end - position;
      context.progress(block.end - position);
    } catch (error) {
      this.#damaged(error, { from: position, to: position }, reach);
      return;
    }
    if (level === 0) {
      this.#leaf(plain, position);
      return;
    }
    const children = childrenOf(plain);
    if (children === null) {
      this.#found('order', `the index block at byte ${position} does not hold what one holds`, { from: position, to: position }, reach);
      return;
    }
    for (const [at, child] of children.entries()) {
      const next = children[at + 1];
      await this.#block(file, child.position, level - 1, { from: child.tableId, to: next?.tableId ?? reach.to });
    }
  }

  #leaf(plain: Buffer, position: number): void {
    const walker = this.#walker;
    walker.reset(plain);
    const here = { from: position, to: position };
    try {
      while (walker.step()) {
        const { tableId } = walker;
        this.#entries++;
        this.#plainBytes += walker.valueEnd - walker.keyStart;
        const what = this.#order(walker) ?? this.#fault(walker);
        if (what !== null) this.#found('order', what, here, { from: tableId, to: tableId });
      }
    } catch (error) {
      this.#damaged(error, here, { from: walker.tableId, to: walker.tableId });
    }
    this.#lastKey = Buffer.from(this.#lastKey);
  }

  #order({ tableId, bytes, keyStart, keyEnd }: EntryWalker): string | null {
    const order = tableId === this.#lastTable ? bytes.compare(this.#lastKey, 0, this.#lastKey.length, keyStart, keyEnd) : tableId - this.#lastTable;
    this.#lastTable = tableId;
    this.#lastKey = bytes.subarray(keyStart, keyEnd);
    return order > 0 ? null : order === 0 ? 'a key stands there twice' : 'the keys are not in order';
  }

  #damaged(error: unknown, bytes: Stretch | null, reach: Reach): void {
    if (this.#parts.context.signal.aborted) throw error;
    const known = asTidemarkError(error, 'LOG_READ_FAILED');
    if (error instanceof TidemarkError ? error.code === 'LOG_FORMAT' : !isZlibError(error)) throw error;
    this.#found('damage', known.message, bytes, reach);
  }

  /** The same thing about the same tables is told once, with the first place. */
  #found(kind: FindingKind, what: string, bytes: Stretch | null, { from, to }: Reach): void {
    const { context, catalog } = this.#parts;
    if (kind === 'damage') this.#isWhole = false;
    if (kind === 'order' && this.#told.has(`${what} ${from}`)) return;
    this.#told.add(`${what} ${from}`);
    const file = runFile(this.#run.number);
    const tables = namesOf(catalog, catalog.tables().flatMap(({ tableId }) => (tableId >= from && tableId <= to ? [tableId] : [])));
    context.found({ source: context.source, kind, file, bytes, offsets: null, tables, what, mend: mendOf(context.source, kind, file, tables) });
  }
}

/** Null when the block holds something else. */
function childrenOf(plain: Buffer): { readonly tableId: number; readonly position: number }[] | null {
  const walker = new EntryWalker();
  walker.reset(plain);
  const children: { tableId: number; position: number }[] = [];
  while (walker.step()) {
    if (walker.valueEnd - walker.keyEnd !== 8) return null;
    children.push({ tableId: walker.tableId, position: readU64(walker.bytes, walker.keyEnd) });
  }
  return children;
}

function isZlibError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('ZSTD');
}
