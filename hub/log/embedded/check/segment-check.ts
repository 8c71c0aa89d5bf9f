import { join } from 'node:path';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { TransactionWalk } from '../../../../contracts/packed-transactions.ts';
import type { FileSystem, LogFile } from '../../../../contracts/runtime.ts';
import { epochOf } from '../epochs.ts';
import type { Manifest, SegmentEntry } from '../manifest.ts';
import { noteBatch } from '../recovery/recovery.ts';
import { BATCH_HEADER } from '../segments/batch-codec.ts';
import { checkTransactions } from '../segments/batch-rules.ts';
import { findClaims, headersIn } from '../segments/look-past.ts';
import { SegmentCursor, type Damage, type StoredBatch } from '../segments/segment-cursor.ts';
import { decodeIndex, SegmentIndexBuilder, type StoredIndex } from '../segments/segment-index.ts';
import { decodeSegmentHeader, indexFile, SEGMENT_HEADER, segmentFile } from '../segments/segment.ts';
import { mendOf, stretch, type CheckContext, type FindingKind, type LogFinding, type Stretch } from './finding.ts';
import { indexFault } from './index-check.ts';
import type { RecordCheck } from './record-check.ts';
import { namesOf } from './table-names.ts';

export interface SegmentCheckParts {
  readonly files: FileSystem;
  readonly directory: string;
  readonly manifest: Manifest;
  readonly context: CheckContext;
  readonly records: RecordCheck;
  /** Takes each whole batch of the history, in order. */
  readonly take: ((batch: ChangeBatch) => void | Promise<void>) | null;
}

/** Checks the segments of a history, one after the other; goes on behind what is damaged. */
export class SegmentCheck {
  readonly #parts: SegmentCheckParts;
  /** The offset that comes next. */
  #next: Offset;
  /** A transaction is open; null: not known, behind damage, and where the history begins that has not been folded. */
  #open: boolean | null;
  #durable: Offset;
  /** True once something is missing of the history. */
  hasHoles = false;
  recordCount = 0;
  transactionCount = 0;

  constructor(parts: SegmentCheckParts) {
    this.#parts = parts;
    this.#next = parts.manifest.segments[0]?.base ?? parts.manifest.horizon + 1;
    this.#durable = parts.manifest.durable;
    this.#open = parts.manifest.horizon === 0 ? false : null;
  }

  async check(segment: SegmentEntry): Promise<void> {
    const { files, directory } = this.#parts;
    const index = segment.state === 'sealed' ? await this.#index(segment.number) : null;
    const walk = new SegmentWalk(this, this.#parts, segment, index);
    const name = segmentFile(segment.number);
    if (!(await files.exists(join(directory, name)))) {
      this.lost(walk, null, segment.state === 'active' ? segment.base : segment.last, 'the file is missing');
      return;
    }
    const file = await files.open(join(directory, name), 'read');
    try {
      await walk.run(file);
    } finally {
      await file.close();
    }
    walk.finish();
  }

  get next(): Offset {
    return this.#next;
  }

  /** True when the manifest, or a header so far, says that offset `next` was durable. */
  isDurable(claimed: Offset): boolean {
    return Math.max(this.#durable, claimed) >= this.#next;
  }

  /** A whole batch that follows. Answers what is wrong with its transactions; null: nothing. */
  follow({ batch, header }: StoredBatch): string | null {
    this.#durable = Math.max(this.#durable, header.durableOffset);
    this.#next = batch.baseOffset + batch.count;
    this.recordCount += batch.count;
    const entry = new TransactionWalk(batch.packed);
    // Behind damage it is what the first transaction says.
    const open = entry.next() ? (this.#open ?? !entry.begins) : (this.#open ?? false);
    try {
      this.#open = checkTransactions(batch, open);
      this.transactionCount += batch.packed.length - (this.#open && batch.packed.length > 0 ? 1 : 0);
      return this.#open === header.openAfter ? null : 'a batch does not say whether a transaction is open after it';
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error;
      this.#open = null;
      return error.message;
    }
  }

  /** Offsets up to `last` cannot be read. What the index repeats of them is made use of. */
  lost(walk: SegmentWalk, bytes: Stretch | null, last: Offset, what: string): void {
    const { records, manifest } = this.#parts;
    const from = this.#next;
    this.hasHoles = true;
    this.#open = null;
    this.#next = Math.max(this.#next, last + 1);
    if (walk.index === null) records.knowsSchemas = false;
    else records.make(walk.index.controls.filter(({ offset }) => offset >= from && offset <= last && offset > manifest.horizon));
    walk.found('damage', what, bytes, stretch(from, last));
  }

  async #index(number: number): Promise<StoredIndex | null> {
    const { files, directory, context } = this.#parts;
    const path = join(directory, indexFile(number));
    if (!(await files.exists(path))) return this.#badIndex(number, 'the file is missing');
    const bytes = await files.readFile(path);
    context.progress(bytes.length);
    return decodeIndex(bytes, number) ?? this.#badIndex(number, 'it is not what was written, or of a version that is not known');
  }

  #badIndex(number: number, what: string): null {
    const { context } = this.#parts;
    const file = indexFile(number);
    context.found({ source: context.source, kind: 'index', file, bytes: null, offsets: null, tables: [], what, mend: mendOf(context.source, 'index', file, []) });
    return null;
  }
}

/** One segment. */
class SegmentWalk {
  readonly index: StoredIndex | null;
  readonly #check: SegmentCheck;
  readonly #parts: SegmentCheckParts;
  readonly #segment: SegmentEntry;
  readonly #rebuilt = new SegmentIndexBuilder();
  readonly #controls: { offset: Offset; record: Buffer }[] = [];
  /** What is odd, by what it is: the same thing is told once, from the first place to the last. */
  readonly #odd = new Map<string, LogFinding>();
  #isWhole = true;

  constructor(check: SegmentCheck, parts: SegmentCheckParts, segment: SegmentEntry, index: StoredIndex | null) {
    this.#check = check;
    this.#parts = parts;
    this.#segment = segment;
    this.index = index;
  }

  async run(file: LogFile): Promise<void> {
    const segment = this.#segment;
    const size = await file.size();
    const limit = segment.state === 'active' ? size : segment.bytes;
    await this.#header(file);
    if (segment.base !== this.#check.next) {
      this.found('order', `it begins at offset ${segment.base} where ${this.#check.next} should follow`, null, stretch(segment.base, segment.base));
    }
    await this.#batches(file, Math.min(limit, size));
    if (size < limit) this.#check.lost(this, { from: size, to: limit - 1 }, this.#last, `the file ends at byte ${size} instead of ${limit}`);
    else if (segment.state !== 'active' && this.#check.next !== segment.last + 1) {
      this.found('order', `it ends at offset ${this.#check.next - 1} instead of ${segment.last}`, null, null);
    }
  }

  finish(): void {
    const { context } = this.#parts;
    for (const finding of this.#odd.values()) context.found(finding);
    const segment = this.#segment;
    if (this.index === null || !this.#isWhole || segment.state !== 'sealed') return;
    const what = indexFault(this.index, this.#rebuilt, this.#controls, segment);
    if (what === null) return;
    const file = indexFile(segment.number);
    context.found({ source: context.source, kind: 'index', file, bytes: null, offsets: null, tables: [], what, mend: mendOf(context.source, 'index', file, []) });
  }

  found(kind: FindingKind, what: string, bytes: Stretch | null, offsets: Stretch | null, tables: readonly number[] | null = null): void {
    const { context, records } = this.#parts;
    const ids = tables ?? (this.index?.index.tables ?? null);
    const names = ids === null ? null : namesOf(records.catalog, ids);
    const file = segmentFile(this.#segment.number);
    if (kind === 'damage') this.#isWhole = false;
    const finding = { source: context.source, kind, file, bytes, offsets, tables: names, what, mend: mendOf(context.source, kind, file, names, this.#segment.state !== 'sealed') };
    if (kind === 'damage') context.found(finding);
    else this.#merge(finding);
  }

  #merge(finding: LogFinding): void {
    const before = this.#odd.get(finding.what);
    const offsets = before?.offsets === null || before?.offsets === undefined || finding.offsets === null ? finding.offsets : { from: before.offsets.from, to: finding.offsets.to };
    const bytes = before?.bytes === null || before?.bytes === undefined || finding.bytes === null ? finding.bytes : { from: before.bytes.from, to: finding.bytes.to };
    const tables = before?.tables === null || before === undefined || finding.tables === null ? finding.tables : [...new Set([...before.tables, ...finding.tables])];
    this.#odd.set(finding.what, { ...finding, offsets, bytes, tables, mend: mendOf(finding.source, finding.kind, finding.file, tables) });
  }

  /** The last offset that the segment should have. */
  get #last(): Offset {
    return this.#segment.state === 'active' ? this.#check.next - 1 : this.#segment.last;
  }

  async #header(file: LogFile): Promise<void> {
    const bytes = Buffer.alloc(SEGMENT_HEADER);
    const read = await file.read(bytes, 0);
    const { number, epoch, base } = this.#segment;
    const header = read < SEGMENT_HEADER ? null : decodeSegmentHeader(bytes);
    const fits = header !== null && header.logId === this.#parts.manifest.logId && header.epoch === epoch && header.base === base && header.number === number;
    // Its batches may be whole all the same.
    if (!fits) this.found('damage', 'the header of the segment is not the one that was written', { from: 0, to: SEGMENT_HEADER - 1 }, null);
  }

  async #batches(file: LogFile, limit: number): Promise<void> {
    const { context } = this.#parts;
    let cursor = new SegmentCursor(file, SEGMENT_HEADER, { readsAhead: true, reuses: true });
    for (;;) {
      context.signal.throwIfAborted();
      const before = cursor.position;
      const stored = await cursor.next(limit);
      if (stored === null) return;
      if (stored.kind === 'damage') {
        const behind = await this.#skip(file, stored, limit);
        if (behind === null) return;
        cursor = new SegmentCursor(file, behind, { readsAhead: true, reuses: true });
        context.progress(behind - before);
        continue;
      }
      await this.#batch(stored);
      context.progress(stored.end - before);
    }
  }

  /** Where the next whole batch stands behind damage; null: there is none. */
  async #skip(file: LogFile, { position, why }: Damage, limit: number): Promise<number | null> {
    const isOurs = (header: { logId: string; epoch: string; base: Offset }): boolean =>
      header.logId === this.#parts.manifest.logId && header.epoch === this.#segment.epoch && header.base >= this.#check.next;
    if (this.#segment.state === 'active') {
      const claims = await findClaims(file, position + 1, limit, isOurs);
      // A torn tail: nobody was told that it is durable, and opening the log cuts it.
      if (!this.#check.isDurable(claims.offset) && claims.bytes <= position) return null;
    }
    for await (const { position: at, header } of headersIn(file, position + 1, limit)) {
      if (!isOurs(header)) continue;
      const found = await new SegmentCursor(file, at).next(limit);
      if (found?.kind !== 'batch') continue;
      this.#check.lost(this, { from: position, to: at - 1 }, header.base - 1, why);
      return at;
    }
    this.#check.lost(this, { from: position, to: limit - 1 }, this.#last, why);
    return null;
  }

  async #batch(stored: StoredBatch): Promise<void> {
    const { header, batch, position, end } = stored;
    const { manifest, records, take } = this.#parts;
    const bytes = { from: position, to: end - 1 };
    const offsets = stretch(batch.baseOffset, batch.lastOffset);
    if (header.logId !== manifest.logId || header.epoch !== this.#segment.epoch) {
      this.#check.lost(this, bytes, batch.lastOffset, 'a batch belongs to another log or epoch');
      return;
    }
    if (batch.baseOffset !== this.#check.next) {
      this.found('order', `a batch begins at offset ${batch.baseOffset} where ${this.#check.next} should follow`, bytes, offsets);
    }
    if (batch.count > 0 && epochOf(manifest.epochs, batch.lastOffset) !== header.epoch) {
      this.found('order', 'a batch stands outside its epoch', bytes, offsets);
    }
    const wrong = this.#check.follow(stored);
    if (wrong !== null) this.found('order', wrong, bytes, offsets);
    this.#note(stored);
    // What the horizon has passed is in the base; the catalog begins behind it.
    const odd = records.check(batch, manifest.horizon + 1);
    if (odd !== null) this.found('order', odd.what, { from: position + BATCH_HEADER, to: end - 1 }, { from: odd.offset, to: odd.offset }, [odd.tableId]);
    if (odd !== null) this.#check.hasHoles = true;
    const taken = odd === null ? take?.(batch) : undefined;
    if (taken instanceof Promise) await taken;
  }

  #note(stored: StoredBatch): void {
    try {
      this.#controls.push(...noteBatch(this.#rebuilt, stored));
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error;
      this.#isWhole = false;
    }
  }
}
