/** What stands in a file of a log, thing by thing, for people. Checks no more than it has to; damage is one of the things. */
import { basename } from 'node:path';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { Flag, opLetter } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import type { FileSystem, LogFile } from '../../../../contracts/runtime.ts';
import { tableName } from '../../../../contracts/schema.ts';
import type { TransactionEntry } from '../../../../contracts/transaction.ts';
import { baseFileNumber, decodeCatalog } from '../base/base-files.ts';
import { decodeManifest, MANIFEST_FILE } from '../manifest.ts';
import { headersIn } from '../segments/look-past.ts';
import { SegmentCursor, type StoredBatch } from '../segments/segment-cursor.ts';
import { decodeIndex } from '../segments/segment-index.ts';
import { decodeSegmentHeader, fileNumber, SEGMENT_HEADER } from '../segments/segment.ts';
import { inspectRun } from './inspect-run.ts';
import { cellsOf, keyText } from './values.ts';

/** One thing in a file: what it is, and what it says. `depth`: inside how many others it stands. */
export interface Inspected {
  readonly kind: 'manifest' | 'segment' | 'batch' | 'transaction' | 'record' | 'index' | 'control' | 'run' | 'block' | 'entry' | 'catalog' | 'table' | 'damage';
  readonly depth: number;
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * @param path of a manifest, segment, index, run or catalog; told by its name
 * @throws TidemarkError `USAGE` for another file, `LOG_CORRUPT`, `LOG_FORMAT`, `LOG_READ_FAILED`
 */
export async function* inspectFile(files: FileSystem, path: string, signal: AbortSignal): AsyncGenerator<Inspected> {
  const name = basename(path);
  if (name === MANIFEST_FILE) {
    yield { kind: 'manifest', depth: 0, fields: { ...decodeManifest(await files.readFile(path), path) } };
  } else if (name.endsWith('.catalog') && baseFileNumber(name) !== null) {
    yield* catalogThings(await files.readFile(path), path);
  } else if (name.endsWith('.run')) {
    yield* inspectRun(files, path, signal);
  } else if (name.endsWith('.index') && fileNumber(name) !== null) {
    yield* indexThings(await files.readFile(path), fileNumber(name) ?? 0);
  } else if (name.endsWith('.segment')) {
    yield* segmentThings(files, path, signal);
  } else {
    throw new TidemarkError('USAGE', `${name} is no file of a log: a manifest, segment, index, run or catalog`, { where: { file: path } });
  }
}

function* catalogThings(bytes: Buffer, path: string): Generator<Inspected> {
  const { catalog, extents } = decodeCatalog(bytes, path, null);
  const tables = catalog.tables();
  yield { kind: 'catalog', depth: 0, fields: { tables: tables.length } };
  for (const { tableId, versions, state, consistent } of tables) {
    const schema = versions.at(-1)?.schema;
    yield { kind: 'table', depth: 1, fields: { tableId, name: schema === undefined ? '' : tableName(schema), versions: versions.length, state: state.state, consistent, kept: extents.get(tableId) ?? null } };
  }
}

function* indexThings(bytes: Buffer, number: number): Generator<Inspected> {
  const stored = decodeIndex(bytes, number);
  if (stored === null) {
    yield { kind: 'damage', depth: 0, fields: { what: 'it is not the whole index of its segment, or of a version that is not known' } };
    return;
  }
  const { index, controls, bytes: told, maxCommitTime, hasContent } = stored;
  yield {
    kind: 'index', depth: 0,
    fields: { segment: number, bytes: told, places: index.places.length, tables: index.tables === null ? null : [...index.tables], controls: controls.length, maxCommitTime, hasContent },
  };
  const view = new RecordView();
  for (const { offset, record } of controls) yield { kind: 'control', depth: 1, fields: recordFields(view.seek(record, 0), offset) };
}

async function* segmentThings(files: FileSystem, path: string, signal: AbortSignal): AsyncGenerator<Inspected> {
  const file = await files.open(path, 'read');
  try {
    const size = await file.size();
    const bytes = Buffer.alloc(SEGMENT_HEADER);
    await file.read(bytes, 0);
    const header = decodeSegmentHeader(bytes);
    yield header === null ? { kind: 'damage', depth: 0, fields: { byte: 0, what: 'the header of the segment is damaged' } } : { kind: 'segment', depth: 0, fields: { ...header, bytes: size } };
    for await (const found of batchesIn(file, size)) {
      if (signal.aborted) throw new TidemarkError('ABORTED', 'the inspection was given up');
      if ('what' in found) yield { kind: 'damage', depth: 1, fields: found };
      else yield* batchThings(found);
    }
  } finally {
    await file.close();
  }
}

/** The batches of a segment file in order; where there is none: why, and how many bytes lie before the next. */
async function* batchesIn(file: LogFile, size: number): AsyncGenerator<StoredBatch | { readonly byte: number; readonly bytes: number; readonly what: string }> {
  let cursor = new SegmentCursor(file, SEGMENT_HEADER);
  for (;;) {
    const stored = await cursor.next(size);
    if (stored === null) return;
    if (stored.kind === 'batch') {
      yield stored;
      continue;
    }
    let next = size;
    for await (const { position } of headersIn(file, stored.position + 1, size)) {
      next = position;
      break;
    }
    yield { byte: stored.position, bytes: next - stored.position, what: stored.why };
    if (next === size) return;
    cursor = new SegmentCursor(file, next);
  }
}

/** A batch with its transactions and records. @param only the record with this offset alone; default: all */
export function* batchThings({ position, header, batch }: StoredBatch, only: number | null = null): Generator<Inspected> {
  const { epoch, base, count, openAfter, durableOffset, durableBytes } = header;
  const progress = batch.progress === null ? null : Buffer.from(batch.progress).toString('hex');
  yield { kind: 'batch', depth: 1, fields: { byte: position, base, count, transactions: batch.packed.length, openAfter, epoch, durableOffset, durableBytes, progress } };
  const view = new RecordView().reset(batch.records);
  for (const entry of batch.transactions) {
    const first = base + entry.first;
    const isAsked = only === null || (only >= first && only < first + entry.count);
    if (isAsked) yield { kind: 'transaction', depth: 2, fields: transactionFields(entry) };
    for (let at = 0; at < entry.count && view.next(); at++) {
      const offset = base + view.index;
      if (only === null || only === offset) yield { kind: 'record', depth: 3, fields: recordFields(view, offset) };
    }
  }
}

function transactionFields({ kind, xid, begins, commits, count, commitTime, origin, position }: TransactionEntry): Readonly<Record<string, unknown>> {
  const time = commitTime === 0 ? null : new Date(commitTime / 1000).toISOString();
  return { of: kind, xid, begins, commits, count, time, origin, position: Buffer.from(position).toString('hex') };
}

/** A record without its schema: columns by their place. */
function recordFields(view: RecordView, offset: number): Readonly<Record<string, unknown>> {
  const flags = Object.entries(Flag).flatMap(([name, bit]) => ((view.flags & bit) === 0 ? [] : [name]));
  const op = opLetter(view.op);
  const isText = op === 's' || op === 'h';
  return {
    offset,
    op,
    flags,
    tableId: view.tableId,
    version: view.schemaVersion,
    key: keyText(view.key()),
    before: view.hasBefore ? cellsOf(view.before()) : null,
    after: !view.hasAfter ? null : isText ? view.after().toString('utf8') : op === 'm' ? { bytes: view.afterEnd - view.afterStart } : cellsOf(view.after()),
  };
}
