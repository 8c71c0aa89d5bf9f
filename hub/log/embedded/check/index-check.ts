import type { SealedSegment } from '../manifest.ts';
import type { ControlRecord, SegmentIndexBuilder, StoredIndex } from '../segments/segment-index.ts';

/** What the stored index of a segment says that the segment does not; null: it says what the segment has. */
export function indexFault(stored: StoredIndex, rebuilt: SegmentIndexBuilder, controls: readonly ControlRecord[], segment: SealedSegment): string | null {
  if (stored.bytes !== segment.bytes) return `it tells of ${stored.bytes} bytes, the segment has ${segment.bytes}`;
  if (stored.controls.length !== segment.controls) return `it has ${stored.controls.length} records of the catalog, the manifest says ${segment.controls}`;
  const { places, tables } = rebuilt.snapshot();
  const isSamePlace = stored.index.places.every((place, at) => place.base === places[at]?.base && place.position === places[at].position);
  if (!isSamePlace || stored.index.places.length !== places.length) return 'a batch does not begin where it says';
  if (tables === null ? stored.index.tables !== null : [...tables].some((table) => !stored.index.mayHold(table))) return 'it leaves out a table of the segment';
  const isSameControl = (control: ControlRecord, at: number): boolean => {
    const other = stored.controls[at];
    return other?.offset === control.offset && other.record.equals(control.record);
  };
  if (controls.length !== stored.controls.length || !controls.every(isSameControl)) return 'it repeats other records of the catalog than the segment has';
  // What was written and taken back may still count in both; earlier versions counted transactions of the hub as well.
  if (rebuilt.hasContent && !stored.hasContent) return 'it says that the segment is empty';
  return stored.maxCommitTime >= rebuilt.maxCommitTime ? null : 'it tells an earlier commit time than the segment has';
}
