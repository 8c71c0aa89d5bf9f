/** The changes that opening a log for writing makes to its files, so that all of it is durable, closed and sealed. */
import { join } from 'node:path';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { LogFile } from '../../../../contracts/runtime.ts';
import { baseFileNumber } from '../base/base-files.ts';
import { baseFileNumbers } from '../manifest.ts';
import { diskError } from '../disk-error.ts';
import type { LogCore } from '../log-core.ts';
import type { Recovered } from './recovery.ts';
import { cutLog, readControls } from '../segments/sealing.ts';
import type { SegmentIndexBuilder } from '../segments/segment-index.ts';
import { fileNumber } from '../segments/segment.ts';

const COPY_BYTES = 1 << 20;
/** Folders in which compaction and readers of the base sort. */
const SCRATCH = 'scratch-';

/** @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL`, `LOG_CORRUPT` */
export async function repairLog(core: LogCore, recovered: Recovered): Promise<void> {
  try {
    await removeLeftovers(core);
    await writeTailAgain(core, recovered);
  } catch (error) {
    throw diskError(error, 'the log could not be opened for writing', { source: core.source });
  }
  for (const [number, index] of recovered.lostIndexes) await storeIndex(core, number, index);
  if (core.view.segments.some((segment) => segment.state !== 'sealed')) await cutLog(core);
}

/**
 * Case 1. A process that ended may have been told by the kernel that a sync had failed: the kernel then keeps the pages
 * as if they were clean, and a new sync would succeed without writing them. Written again, they are dirty again.
 */
async function writeTailAgain(core: LogCore, { end, unnamedFrom }: Recovered): Promise<void> {
  const segment = core.view.segments.find(({ number }) => number === end.segment);
  if (segment === undefined || segment.state === 'sealed') return;
  const file = await core.files.open(core.segmentPath(segment.number), 'write');
  try {
    for (let at = unnamedFrom; at < end.position; at += COPY_BYTES) {
      await file.write([await readExactly(file, at, Math.min(COPY_BYTES, end.position - at))], at);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

async function readExactly(file: LogFile, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  if ((await file.read(bytes, position)) !== length) throw new TidemarkError('INTERNAL', 'a segment became shorter while it was opened');
  return bytes;
}

/** Cases 6 and 15: files of the log that the manifest does not name, and what an interrupted replacement left. */
async function removeLeftovers(core: LogCore): Promise<void> {
  const { segments, base } = core.view;
  const named = new Set(segments.map(({ number }) => number));
  const ofBase = new Set(base === null ? [] : baseFileNumbers(base));
  for (const name of await core.files.list(core.directory)) {
    const number = fileNumber(name);
    const baseNumber = baseFileNumber(name);
    const isNamed = (number !== null && named.has(number)) || (baseNumber !== null && ofBase.has(baseNumber));
    const isOurs = number !== null || baseNumber !== null || name.endsWith('.new') || name.startsWith(SCRATCH);
    if (isOurs && !isNamed) await core.files.remove(join(core.directory, name));
  }
}

async function storeIndex(core: LogCore, number: number, index: SegmentIndexBuilder): Promise<void> {
  const segment = core.view.segments.find((entry) => entry.number === number);
  if (segment?.state !== 'sealed') throw new TidemarkError('INTERNAL', `segment ${number} is not sealed`);
  const controls = await readControls(core, segment, index.controlBatches);
  try {
    await core.files.replace(core.indexPath(number), index.encode(number, segment.bytes, null, controls));
  } catch (error) {
    throw diskError(error, 'an index could not be made again', { source: core.source, file: core.indexPath(number) });
  }
  core.runtime.logger.log('warn', 'log.index-made-again', { source: core.source, segment: number });
}
