/**
 * A log goes on behind its damage: what it holds is given up, and it stands at a horizon above every offset that was ever
 * given, with a base in which every table is gone. So nothing damaged is read again, no offset is given twice, no table's
 * state below is answered, and whoever has applied anything of before stands below the horizon and is filled anew. The
 * source goes on from the position that the log has reached, and copies every table as one that has come to be selected.
 *
 * The manifest is the moment: before it the log is as it was; what it does not name any more is removed when the log is
 * opened for writing.
 */
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { Catalog } from '../../../../contracts/catalog.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { MAX_OFFSET, type Offset } from '../../../../contracts/offset.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import { baseFileNumber, catalogFile, encodeCatalog, runFile } from '../base/base-files.ts';
import { checkLog } from '../check/check-log.ts';
import { diskError } from '../disk-error.ts';
import type { HeldLog } from '../held-log.ts';
import { logFolder } from '../log-folder.ts';
import { encodeManifest, loadManifest, MANIFEST_FILE, type Manifest } from '../manifest.ts';
import { RunWriter } from '../runs/run-writer.ts';
import { surveyLog, type Survey } from './survey.ts';

/** Where not every table can be told any more, new ones get ids so far above those that can: none is given twice. */
const UNKNOWN_IDS = 1_000_000;

export interface PassDamageOptions {
  readonly files: FileSystem;
  /** Absolute path of the data folder, which nobody else has open. */
  readonly data: string;
  readonly log: HeldLog;
  /** So many bytes more have been looked at. */
  readonly progress: (bytes: number) => void;
  readonly signal: AbortSignal;
}

export interface Passed {
  /** Where the log begins. */
  readonly horizon: Offset;
  /** Tables of before. */
  readonly tables: number;
}

/**
 * @throws TidemarkError `LOG_NOT_DAMAGED`: nothing is changed; `LOG_CORRUPT`, `LOG_FORMAT` when the manifest cannot be read;
 *   `LOG_WRITE_FAILED`, `LOG_DISK_FULL`, `ABORTED`: the log is as it was
 */
export async function passDamage(options: PassDamageOptions): Promise<Passed> {
  const { files, data, log } = options;
  const directory = logFolder(data, log.folder);
  await assertDamaged(options);
  const manifest = await loadManifest(files, join(directory, MANIFEST_FILE));
  const survey = await surveyLog(files, directory, manifest);
  const horizon = survey.highest + 1;
  if (horizon >= MAX_OFFSET) throw new TidemarkError('OFFSET_RANGE', 'the log has reached the last offset', { where: { source: log.source } });
  try {
    await replaceAll(files, directory, manifest, survey, horizon);
  } catch (error) {
    throw diskError(error, 'the log could not be led past its damage', { source: log.source, file: directory });
  }
  return { horizon, tables: survey.catalog.tables().length };
}

/** Everything is read until the first damage is found: a log that is whole is not given up by mistake. */
async function assertDamaged({ files, data, log, progress, signal }: PassDamageOptions): Promise<void> {
  const found = new AbortController();
  const either = AbortSignal.any([signal, found.signal]);
  try {
    await checkLog({ files, data, log, scratch: null, found: ({ kind }) => (kind === 'index' ? undefined : found.abort()), progress, signal: either });
  } catch (error) {
    if (!found.signal.aborted || signal.aborted) throw error;
  }
  if (found.signal.aborted) return;
  throw new TidemarkError('LOG_NOT_DAMAGED', 'every file of the log is as it was written', { where: { source: log.source } });
}

async function replaceAll(files: FileSystem, directory: string, manifest: Manifest, survey: Survey, horizon: Offset): Promise<void> {
  const taken = (await files.list(directory)).map((name) => baseFileNumber(name) ?? 0);
  const number = Math.max(manifest.nextBase, 1 + Math.max(0, ...taken));
  await using writer = await RunWriter.create(files, join(directory, runFile(number)));
  const { entries, bytes } = await writer.finish(true);
  const catalog = encodeCatalog({ catalog: gone(survey, horizon), extents: new Map() });
  await files.replace(join(directory, catalogFile(number + 1)), catalog);
  await files.syncDirectory(directory);
  const { position, commitTime, maxCommitTime } = survey;
  const next: Manifest = {
    ...manifest,
    horizon,
    base: { position, commitTime, maxCommitTime, catalog: number + 1, catalogCrc: crc32(catalog), runs: [{ number, after: 0, to: horizon, entries, bytes, bags: [] }], archive: [] },
    leases: [],
    nextBase: number + 2,
    durable: horizon,
    segments: [],
    sealedPosition: position,
    sealedCommitTime: commitTime,
  };
  await files.replace(join(directory, MANIFEST_FILE), encodeManifest(next));
}

/** Every table that is known, as one that is gone. */
function gone({ catalog, isWhole }: Survey, at: Offset): Catalog {
  const state = { state: 'removed', at } as const;
  const tables = catalog.tables().map((table) => ({ ...table, state, consistent: [] }));
  if (!isWhole) tables.push({ tableId: catalog.nextTableId() + UNKNOWN_IDS, versions: [], state, consistent: [] });
  return Catalog.from(tables);
}
