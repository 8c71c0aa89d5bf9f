import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import { decodeCatalog } from '../base/base-files.ts';
import { EntryWalker, readBlock, readRunFooter } from '../runs/run-format.ts';
import { readU64 } from '../bytes.ts';
import { SegmentCursor } from '../segments/segment-cursor.ts';
import { decodeIndex } from '../segments/segment-index.ts';
import { decodeSegmentHeader, SEGMENT_HEADER } from '../segments/segment.ts';

export interface CheckedFile {
  readonly kind: 'segment' | 'index' | 'run' | 'catalog';
  readonly number: number;
  /** Those that count; null: all of the file. */
  readonly bytes: number | null;
  /** CRC-32 of the whole of it; null: not known. */
  readonly crc: number | null;
}

/**
 * Reads one file of a log that never changes, with all its checksums. Null: it is whole.
 * @throws TidemarkError `ABORTED`, `LOG_FORMAT`; Node's errors
 */
export async function fileFault(files: FileSystem, path: string, { kind, number, bytes, crc }: CheckedFile, signal: AbortSignal): Promise<string | null> {
  if (!(await files.exists(path))) return 'the file is missing';
  try {
    switch (kind) {
      case 'segment':
        return await segmentFault(files, path, number, bytes, signal);
      case 'run':
        await readRun(files, path, signal);
        return null;
      case 'index':
        return decodeIndex(await files.readFile(path), number) === null ? 'it is not what was written' : null;
      case 'catalog':
        decodeCatalog(await files.readFile(path), path, crc);
        return null;
    }
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'LOG_CORRUPT') return error.message;
    throw error;
  }
}

async function segmentFault(files: FileSystem, path: string, number: number, bytesThatCount: number | null, signal: AbortSignal): Promise<string | null> {
  const file = await files.open(path, 'read');
  try {
    const bytes = Buffer.alloc(SEGMENT_HEADER);
    const read = await file.read(bytes, 0);
    if (read < SEGMENT_HEADER || decodeSegmentHeader(bytes)?.number !== number) return 'the header of the segment is not the one that was written';
    const size = bytesThatCount ?? (await file.size());
    const cursor = new SegmentCursor(file, SEGMENT_HEADER, { readsAhead: true, reuses: true });
    for (let stored = await cursor.next(size); stored !== null; stored = await cursor.next(size)) {
      if (stored.kind === 'damage') return `${stored.why} at byte ${stored.position}`;
      if (signal.aborted) throw givenUp();
    }
    return null;
  } finally {
    await file.close();
  }
}

async function readRun(files: FileSystem, path: string, signal: AbortSignal): Promise<void> {
  const file = await files.open(path, 'read');
  try {
    const { root, height } = await readRunFooter(file, path);
    const pending: { position: number; level: number }[] = root === 0 ? [] : [{ position: root, level: height }];
    const walker = new EntryWalker();
    for (let block = pending.pop(); block !== undefined; block = pending.pop()) {
      if (signal.aborted) throw givenUp();
      walker.reset((await readBlock(file, block.position, path)).plain);
      while (walker.step()) if (block.level > 0) pending.push({ position: readU64(walker.bytes, walker.keyEnd), level: block.level - 1 });
    }
  } finally {
    await file.close();
  }
}

function givenUp(): TidemarkError {
  return new TidemarkError('ABORTED', 'the check was given up');
}
