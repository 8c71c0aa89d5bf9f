import { join } from 'node:path';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import { folderName, logFolder } from '../log-folder.ts';
import { loadManifest, MANIFEST_FILE } from '../manifest.ts';
import { SegmentCursor } from '../segments/segment-cursor.ts';
import { decodeIndex } from '../segments/segment-index.ts';
import { indexFile, SEGMENT_HEADER, segmentFile } from '../segments/segment.ts';
import { batchThings, type Inspected } from './inspect.ts';

/**
 * The record at an offset, with the segment, batch and transaction that it stands in. Reads files of a hub that may run,
 * of which the newest batches may not be there yet.
 * @throws TidemarkError `LOG_UNKNOWN`, `LOG_BELOW_HORIZON`, `OFFSET_RANGE`, `LOG_CORRUPT`
 */
export async function* inspectOffset(files: FileSystem, data: string, source: string, offset: Offset): AsyncGenerator<Inspected> {
  const directory = logFolder(data, folderName(source));
  if (!(await files.exists(join(directory, MANIFEST_FILE)))) throw new TidemarkError('LOG_UNKNOWN', `there is no log of ${source}`, { where: { source } });
  const { segments, horizon } = await loadManifest(files, join(directory, MANIFEST_FILE));
  const segment = segments.findLast(({ base }) => base <= offset);
  if (offset < 1 || segment === undefined) {
    if (offset < 1) throw new TidemarkError('OFFSET_RANGE', 'the first offset is 1', { where: { source, offset } });
    throw new TidemarkError('LOG_BELOW_HORIZON', `the record at offset ${offset} has been folded into the base; the horizon is ${horizon}`, { where: { source, offset } });
  }
  const path = join(directory, segmentFile(segment.number));
  const index = (await files.exists(join(directory, indexFile(segment.number)))) ? decodeIndex(await files.readFile(join(directory, indexFile(segment.number))), segment.number) : null;
  const file = await files.open(path, 'read');
  try {
    const limit = segment.state === 'active' ? await file.size() : segment.bytes;
    const cursor = new SegmentCursor(file, index?.index.placeBefore(offset + 1)?.position ?? SEGMENT_HEADER);
    for (let stored = await cursor.next(limit); stored?.kind === 'batch'; stored = await cursor.next(limit)) {
      if (stored.batch.lastOffset < offset || stored.batch.count === 0) continue;
      yield { kind: 'segment', depth: 0, fields: { file: segmentFile(segment.number), state: segment.state, base: segment.base, epoch: segment.epoch } };
      yield* batchThings(stored, offset);
      return;
    }
  } finally {
    await file.close();
  }
  throw new TidemarkError('OFFSET_RANGE', `offset ${offset} is not in the log`, { where: { source, offset, file: path } });
}
