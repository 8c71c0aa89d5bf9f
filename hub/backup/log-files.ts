/** The files that one log is made of, as a backup takes them. No I/O. */
import type { EpochId } from '../../contracts/checkpoint.ts';
import type { Offset } from '../../contracts/offset.ts';
import { catalogFile, runFile } from '../log/embedded/base/base-files.ts';
import { epochOf } from '../log/embedded/epochs.ts';
import type { Manifest } from '../log/embedded/manifest.ts';
import { indexFile, segmentFile } from '../log/embedded/segments/segment.ts';

export type LogFileKind = 'segment' | 'index' | 'run' | 'catalog';

/** A file of a log that never changes. */
export interface LastingFile {
  readonly kind: LogFileKind;
  readonly number: number;
  /** Its name in the log's folder. */
  readonly name: string;
  /**
   * Its name among those of all hubs that were restored from one backup and went on by themselves: they give the same
   * numbers again, to other files. What is the same in number and in the epoch of its last record is the same.
   */
  readonly sharedName: string;
  /** Null: not known before it is looked at. */
  readonly bytes: number | null;
  /** CRC-32 of its bytes; null: not known. */
  readonly crc: number | null;
}

/** The end of a log: a segment that is not sealed, of which so many bytes count. */
export interface EndFile {
  readonly name: string;
  readonly bytes: number;
}

export interface LogFiles {
  readonly lasting: readonly LastingFile[];
  readonly ends: readonly EndFile[];
}

/** @param manifest whose segments all have an end */
export function filesOf(manifest: Manifest): LogFiles {
  const lasting: LastingFile[] = [];
  const ends: EndFile[] = [];
  for (const segment of manifest.segments) {
    const { number, epoch } = segment;
    if (segment.state === 'sealed') {
      lasting.push(lastingFile('segment', number, segmentFile(number), epoch, segment.bytes, segment.bytes));
      lasting.push(lastingFile('index', number, indexFile(number), epoch, segment.bytes, null));
    } else if (segment.state === 'closed') ends.push({ name: segmentFile(number), bytes: segment.bytes });
  }
  const { base, horizon } = manifest;
  if (base === null) return { lasting, ends };
  const epochAt = (offset: Offset): EpochId => epochOf(manifest.epochs, offset);
  for (const { number, to, bytes, entries } of [...base.runs, ...base.archive]) {
    lasting.push(lastingFile('run', number, runFile(number), epochAt(to), `${to}-${entries}-${bytes}`, bytes));
  }
  // What is kept of tables depends on when it was folded: at one horizon two hubs may have dropped different records.
  const { catalog, catalogCrc } = base;
  lasting.push(lastingFile('catalog', catalog, catalogFile(catalog), epochAt(horizon), `${horizon}-${catalogCrc ?? ''}`, null, catalogCrc));
  return { lasting, ends };
}

/** @param mark what tells apart what else could be taken for the same */
function lastingFile(kind: LogFileKind, number: number, name: string, epoch: EpochId, mark: number | string, bytes: number | null, crc: number | null = null): LastingFile {
  return { kind, number, name, sharedName: `${String(number).padStart(10, '0')}-${epoch}-${mark}.${kind}`, bytes, crc };
}
