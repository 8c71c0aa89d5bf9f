/**
 * Reads every file of one log and finds what is not as it was written. Changes nothing; goes on behind damage, so that
 * all of it is found at once.
 */
import { join } from 'node:path';
import { Catalog } from '../../../../contracts/catalog.ts';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { asTidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import { catalogFile, decodeCatalog, runFile, type BaseCatalog } from '../base/base-files.ts';
import { NetCursor } from '../base/net-cursor.ts';
import { OpenRuns } from '../base/open-runs.ts';
import { lastOffset, type HeldLog } from '../held-log.ts';
import { logFolder } from '../log-folder.ts';
import { MANIFEST_FILE, type ArchiveRun, type BaseRun, type Manifest } from '../manifest.ts';
import { segmentFile } from '../segments/segment.ts';
import { archiveEntryFault } from './archive-entry-check.ts';
import { baseEntryFault } from './base-entry-check.ts';
import { mendOf, type CheckContext, type LogFinding } from './finding.ts';
import { Presence } from './presence.ts';
import { RecordCheck } from './record-check.ts';
import { RunCheck } from './run-check.ts';
import { SegmentCheck } from './segment-check.ts';
import { namesOf } from './table-names.ts';

export interface LogCheckOptions {
  readonly files: FileSystem;
  /** Absolute path of the data folder. */
  readonly data: string;
  readonly log: HeldLog;
  /**
   * Where keys are sorted; made, and removed at the end. Null: it is not looked whether each update and delete has a row
   * to act on.
   */
  readonly scratch: string | null;
  readonly found: (finding: LogFinding) => void;
  readonly progress: (bytes: number) => void;
  readonly signal: AbortSignal;
}

export interface LogCheckSummary {
  readonly source: string;
  readonly horizon: Offset;
  readonly highWatermark: Offset;
  readonly segments: number;
  readonly runs: number;
  readonly records: number;
  readonly transactions: number;
  readonly findings: number;
}

/** Bytes that `checkLog` reads, about. */
export async function bytesToCheck(files: FileSystem, data: string, { folder, manifest }: HeldLog): Promise<number> {
  const directory = logFolder(data, folder);
  let bytes = runsOf(manifest).reduce((sum, run) => sum + run.bytes, 0);
  for (const segment of manifest.segments) {
    if (segment.state !== 'active') bytes += segment.bytes;
    else if (await files.exists(join(directory, segmentFile(segment.number)))) bytes += await sizeOf(files, join(directory, segmentFile(segment.number)));
  }
  return bytes;
}

/** The runs of the base and of its archive. */
function runsOf({ base }: Manifest): (BaseRun | ArchiveRun)[] {
  return base === null ? [] : [...base.runs, ...base.archive];
}

async function sizeOf(files: FileSystem, path: string): Promise<number> {
  const file = await files.open(path, 'read');
  try {
    return await file.size();
  } finally {
    await file.close();
  }
}

/** @throws TidemarkError `LOG_FORMAT`, `LOG_READ_FAILED`, `LOG_DISK_FULL` of the scratch folder, `ABORTED`; what is damaged is told to `found` */
export async function checkLog(options: LogCheckOptions): Promise<LogCheckSummary> {
  const { files, scratch, log } = options;
  const check = new LogCheck(options);
  if (scratch === null) return check.run(null);
  await files.remove(scratch);
  await files.makeDirectory(scratch);
  try {
    await using presence = new Presence(files, scratch, log.manifest.horizon);
    return await check.run(presence);
  } finally {
    await files.remove(scratch);
  }
}

class LogCheck {
  readonly #options: LogCheckOptions;
  readonly #directory: string;
  readonly #manifest: Manifest;
  readonly #context: CheckContext;
  #findings = 0;

  constructor(options: LogCheckOptions) {
    const { data, log, found, progress, signal } = options;
    this.#options = options;
    this.#directory = logFolder(data, log.folder);
    this.#manifest = log.manifest;
    this.#context = {
      source: log.source,
      signal,
      progress,
      found: (finding) => {
        this.#findings++;
        found(finding);
      },
    };
  }

  async run(presence: Presence | null): Promise<LogCheckSummary> {
    const { files } = this.#options;
    const manifest = this.#manifest;
    const base = await this.#catalog();
    const isBaseWhole = (await this.#runs(base?.catalog ?? null)) && base !== null;
    const records = new RecordCheck(base?.catalog.clone() ?? new Catalog());
    records.knowsSchemas = base !== null;
    let isFollowed = presence !== null && isBaseWhole;
    const take = presence === null ? null : (batch: ChangeBatch) => (isFollowed ? presence.add(batch) : undefined);
    const segments = new SegmentCheck({ files, directory: this.#directory, manifest, context: this.#context, records, take });
    this.#beginning();
    for (const segment of manifest.segments) {
      await segments.check(segment);
      if (segments.hasHoles) isFollowed = false;
    }
    // A row that is not there may be one that was lost.
    if (isFollowed && presence !== null && base !== null && this.#findings === 0) await this.#fold(presence, records.catalog, base);
    return {
      source: this.#options.log.source,
      horizon: manifest.horizon,
      highWatermark: lastOffset(manifest),
      segments: manifest.segments.length,
      runs: runsOf(manifest).length,
      records: segments.recordCount,
      transactions: segments.transactionCount,
      findings: this.#findings,
    };
  }

  /** The history follows the base without a hole. */
  #beginning(): void {
    const { segments, horizon } = this.#manifest;
    const [first] = segments;
    if (first === undefined || first.base <= horizon + 1) return;
    const what = `the history begins at offset ${first.base}, the base ends at ${horizon}`;
    this.#context.found({
      source: this.#context.source, kind: 'order', file: segmentFile(first.number), bytes: null, offsets: { from: horizon + 1, to: first.base - 1 },
      tables: null, what, mend: mendOf(this.#context.source, 'damage', MANIFEST_FILE, null),
    });
  }

  /** As of the horizon; null when it cannot be read. */
  async #catalog(): Promise<BaseCatalog | null> {
    const { base } = this.#manifest;
    if (base === null) return { catalog: new Catalog(), extents: new Map() };
    const file = catalogFile(base.catalog);
    const path = join(this.#directory, file);
    try {
      return decodeCatalog(await this.#options.files.readFile(path), path, base.catalogCrc);
    } catch (error) {
      const known = asTidemarkError(error, 'LOG_READ_FAILED');
      if (known.code === 'LOG_FORMAT') throw known;
      const what = known.message;
      this.#context.found({
        source: this.#context.source, kind: 'damage', file, bytes: null, offsets: null, tables: null, what, mend: mendOf(this.#context.source, 'damage', file, null),
      });
      return null;
    }
  }

  /** @param catalog null: it is not known, and entries cannot be understood */
  async #runs(catalog: Catalog | null): Promise<boolean> {
    const { base } = this.#manifest;
    const parts = { files: this.#options.files, directory: this.#directory, context: this.#context, catalog: catalog ?? new Catalog() };
    let isWhole = true;
    for (const run of base?.runs ?? []) {
      const fault = catalog === null ? () => null : baseEntryFault(catalog, run);
      if (!(await new RunCheck(parts, run, fault).check())) isWhole = false;
    }
    for (const run of base?.archive ?? []) await new RunCheck(parts, run, archiveEntryFault(run)).check();
    return isWhole;
  }

  async #fold(presence: Presence, catalog: Catalog, { extents }: BaseCatalog): Promise<void> {
    const { files, scratch, signal } = this.#options;
    const runs = this.#manifest.base?.runs ?? [];
    await using open = await OpenRuns.open(files, runs, (number) => join(this.#directory, runFile(number)));
    const net = new NetCursor(await open.cursor(files, join(scratch ?? '', 'bags'), catalog), { isBottom: true, keeps: () => true });
    // Of others rows have been dropped on purpose.
    const isWhole = (tableId: number): boolean => (extents.get(tableId)?.rowsAfter ?? 0) === 0;
    for (const { tableId, count, first, last } of await presence.rowless(runs.length === 0 ? null : net, { catalog, isWhole, signal })) {
      const segment = this.#manifest.segments.findLast(({ base }) => base <= first);
      const tables = namesOf(catalog, [tableId]);
      this.#context.found({
        source: this.#context.source,
        kind: 'order',
        file: segment === undefined ? '' : segmentFile(segment.number),
        bytes: null,
        offsets: { from: first, to: last },
        tables,
        what: `${count} updates or deletes have no row to act on`,
        mend: mendOf(this.#context.source, 'order', '', tables),
      });
    }
  }
}

/** What stands in place of a check when the manifest itself cannot be read. */
export function unreadableManifest(source: string, file: string, error: unknown): LogFinding {
  const what = asTidemarkError(error, 'LOG_READ_FAILED').message;
  const mend = 'stop the hub and restore the data folder from a backup (`tidemark restore`); without one, move the log\'s folder away: the hub then begins a new log from the same slot and copies every table again, and each sink says how it is filled from it';
  return { source, kind: 'damage', file, bytes: null, offsets: null, tables: null, what, mend };
}

