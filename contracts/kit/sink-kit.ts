/**
 * What every sink that holds state must do, as cases that any test runner can run. Each case gets an empty place of its
 * own and fails by throwing.
 *
 *     for (const { name, run } of sinkKit(target)) test(name, run);
 */
import {
  truncated, swappedKeys, swappedUnique, swappedNames, alteredColumns, newGeneration, removedAhead, copied, bag, randomChanges,
} from './sink-kit-data.ts';
import {
  emptyPlace, plainChanges, emptyBatch, severalInFlight, gapRefused, replayRefused, secondOwner, foreignLog, failedAfterWork, closedInFlight, abortedBefore, parts, partsGivenUp, rewound,
} from './sink-kit-ownership.ts';
import { cursorKept, joinKept, loadCutOff, loadSeveral } from './sink-kit-load.ts';
import {
  bagSnapshot, snapshotAborted, snapshotBeforeAll, snapshotFinds, snapshotLeftEarly, snapshotOfAnotherLog, snapshotOfAnotherShape, snapshotShowsRows, snapshotStays,
} from './sink-kit-snapshot.ts';
import { type KitCase, onStand, type SinkKitTarget, type Stand, takesParts } from './sink-kit-stand.ts';

export type { KitCase, SinkKitTarget, SinkPlace } from './sink-kit-stand.ts';

/** The cases for a target. */
export function sinkKit(target: SinkKitTarget): KitCase[] {
  const cases: [string, (stand: Stand) => Promise<void>][] = [
    ['an empty place has no checkpoint, and check finds no error', emptyPlace],
    ['rows are inserted, changed and deleted; the checkpoint says where', plainChanges],
    ['an empty batch moves the checkpoint', emptyBatch],
    ['several batches are taken before the first is durable, and become durable in order', severalInFlight],
    ['a batch that does not follow the checkpoint is refused and changes nothing', gapRefused],
    ['a batch that was applied already is refused or changes nothing', replayRefused],
    ['a second owner fences the first', secondOwner],
    ['the checkpoint of another log is refused', foreignLog],
    ['failed after the work was done: the checkpoint says so at the next opening', failedAfterWork],
    ['closed while a batch is under way: all of it or nothing', closedInFlight],
    ['a batch is not begun once its signal has aborted', abortedBefore],
    ['a table is emptied', truncated],
    ['keys are swapped, and go round in a ring', swappedKeys],
    ['columns are added with a fill, renamed and dropped', alteredColumns],
    ['a new generation of a table replaces the old one', newGeneration],
    ['a sink that is opened before the removal of a table, which the log has, leaves none of its rows', removedAhead],
    ['a table is copied over rows that are there already', copied],
    ['a sink is filled while its checkpoint stands still: the cursor is kept with the rows, and goes with the end', cursorKept],
    ['tables join others while the checkpoint stands still: the cursor is kept with the rows', joinKept],
    ['batches that fill a sink are taken before the first is durable', loadSeveral],
    ['cut off while it is filled: the cursor has no more than the rows', loadCutOff],
    ['random changes in random batches', randomChanges],
  ];
  if (target.keyless) cases.push(['a table without a key is a bag of rows', bag]);
  return [...cases.map(([name, run]): KitCase => ({ name, run: () => onStand(target, run) })), ...conditionalCases(target), ...snapshotCases(target)];
}

/** Cases about reading back; they say nothing where the sink cannot be read back. */
function snapshotCases(target: SinkKitTarget): KitCase[] {
  const cases: [string, (stand: Stand) => Promise<void>][] = [
    ['a place that nothing was written to has no checkpoint', snapshotBeforeAll],
    ['it shows the checkpoint and, after random changes, the rows that the log expects there', snapshotShowsRows],
    ['it stays as of its checkpoint while others apply (where it is exact)', snapshotStays],
    ['rows are found by their keys', snapshotFinds],
    ['a loop over rows is left early', snapshotLeftEarly],
    ['a reading is aborted', snapshotAborted],
    ['rows are never given in another shape than the one asked for', snapshotOfAnotherShape],
    ['the checkpoint of another log is refused', snapshotOfAnotherLog],
  ];
  if (target.keyless) cases.push(['a table without a key', bagSnapshot]);
  return cases.map(([name, run]): KitCase => ({
    name: `snapshot: ${name}`,
    run: () => onStand(target, async (stand) => (stand.sink.snapshot === undefined ? undefined : run(stand))),
  }));
}

/** Cases that need what only some places and sinks have; they look first and say nothing where it is not there. */
function conditionalCases(target: SinkKitTarget): KitCase[] {
  return [
    {
      name: 'unique values are swapped (where the place has unique constraints)',
      run: () => onStand(target, async (stand) => (stand.place.addUnique === undefined ? undefined : swappedUnique(stand))),
    },
    {
      name: 'goes back to its checkpoint without being opened (where it knows how)',
      run: () => onStand(target, async (stand) => (stand.sink.rewind === undefined ? undefined : rewound(stand))),
    },
    {
      name: 'tables take the names of each other (where the sink hands names on)',
      run: () => onStand(target, async (stand) => (stand.sink.handsNamesOn === true ? swappedNames(stand) : undefined)),
    },
    {
      name: 'parts of one transaction become visible together (where the sink takes whole transactions)',
      run: () => onStand(target, async (stand) => (takesParts(stand.sink) ? parts(stand) : undefined)),
    },
    {
      name: 'parts of a transaction whose end does not come are given up (where the sink takes whole transactions)',
      run: () => onStand(target, async (stand) => (takesParts(stand.sink) ? partsGivenUp(stand) : undefined)),
    },
  ];
}
