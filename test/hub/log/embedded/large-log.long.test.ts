import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BATCH_BYTES, BatchBuilder } from '../../../../contracts/change-batch.ts';
import { buildKey } from '../../../../contracts/key.ts';
import { NEVER, SOURCE } from '../../../../contracts/kit/log-engine-kit-common.ts';
import { positionAt, workloadSchema } from '../../../../contracts/kit/log-workload.ts';
import type { LogWriter } from '../../../../contracts/log-engine.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import { Op } from '../../../../contracts/op.ts';
import { buildImage } from '../../../../contracts/row-image.ts';
import { encodeSchema } from '../../../../contracts/schema.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { loadManifest } from '../../../../hub/log/embedded/manifest.ts';
import { nodeFiles } from '../../../../hub/runtime/node-files.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { temporaryDirectory } from '../../../fixtures/temp.ts';

const NONE = Buffer.alloc(0);
const GIB = 2 ** 30;
/** Of what the figures are for: 50 GB of history, 50 million keys. */
const SCALE = Number(process.env['TIDEMARK_SCALE'] ?? '0.04');
const WANTED_BYTES = 50e9;
const WANTED_KEYS = 50_000_000;
const ROW_BYTES = 120;
const OPENINGS = 7;

async function append(writer: LogWriter, rows: number, first: number, idOf: (row: number) => string): Promise<void> {
  const builder = new BatchBuilder();
  const filler = 'v'.repeat(ROW_BYTES);
  for (let row = 0; row < rows; row += 100) {
    builder.begin('source', first + row + 2, 1_790_000_000_000_000 + first + row);
    if (first + row === 0) builder.record(Op.schema, 0, 1, 1, NONE, NONE, encodeSchema(workloadSchema(1)));
    for (let at = row; at < Math.min(row + 100, rows); at++) {
      const id = idOf(first + at);
      builder.record(Op.update, 0, 1, 1, buildKey([id]), NONE, buildImage([id, filler]));
    }
    builder.commit(positionAt(first + row + 1));
    if (builder.length >= BATCH_BYTES) await writer.append(builder.take());
  }
  await writer.append(builder.take());
}

describe('a large log', () => {
  it('opens in under a second when it was closed, in under five after a kill', async () => {
    await using folder = await temporaryDirectory('large-log');
    const bytes = WANTED_BYTES * SCALE;
    const recordBytes = ROW_BYTES + 28 + 40;
    {
      await using engine = await EmbeddedLogEngine.create(folder.path, createTestRuntime());
      await using writer = await (await engine.open(SOURCE, { create: true })).openWriter(() => undefined);
      await append(writer, Math.floor(bytes / recordBytes), 0, (row) => `key ${row % 100_000}`);
      await writer.flush();
    }
    const clean = await openingMs(folder.path);
    const segments = (await loadManifest(nodeFiles, join(folder.path, 'log', SOURCE, 'manifest'))).segments.length;
    // After a kill the active segment is read too: at most one of full size, whatever the log's.
    const killed = join(folder.path, 'killed');
    await mkdir(killed);
    const writerEngine = await EmbeddedLogEngine.create(killed, createTestRuntime());
    const writer = await (await writerEngine.open(SOURCE, { create: true })).openWriter(() => undefined);
    await append(writer, Math.floor((120 * 2 ** 20) / recordBytes), 0, (row) => `key ${row % 100_000}`);
    await writer.flush();
    const activeSegment = await openingMs(killed);
    await writerEngine[Symbol.asyncDispose]();
    const perSegment = clean / segments;
    const clean50 = (WANTED_BYTES / (128 * 2 ** 20)) * perSegment;
    console.log(
      `${(bytes / GIB).toFixed(2)} GiB in ${segments} segments: opened clean in ${clean.toFixed(0)} ms, ${perSegment.toFixed(2)} ms a segment; ` +
        `an active segment of 120 MiB takes ${activeSegment.toFixed(0)} ms more. ` +
        `50 GB = ${Math.ceil(WANTED_BYTES / (128 * 2 ** 20))} segments: clean ${clean50.toFixed(0)} ms, after a kill ${(clean50 + activeSegment * (128 / 120)).toFixed(0)} ms`,
    );
    expect(clean50).toBeLessThan(1000);
    expect(clean50 + activeSegment * (128 / 120)).toBeLessThan(5000);
  });

  it('finds a row by its key among many in a few blocks', async () => {
    await using folder = await temporaryDirectory('large-log');
    const keys = Math.floor(WANTED_KEYS * SCALE);
    const counted = countingReads(nodeFiles);
    await using engine = await EmbeddedLogEngine.create(folder.path, createTestRuntime({ files: counted.files }));
    const log = await engine.open(SOURCE, { create: true });
    await using writer = await log.openWriter(() => undefined);
    const name = (row: number): string => `key ${String((row * 7919) % keys).padStart(12, '0')}`;
    await append(writer, keys, 0, name);
    // What closes the segments that hold all of them, so that they are folded.
    await append(writer, 800_000, keys, name);
    await writer.flush();
    await log.compact(log.state().highWatermark, { memoryBytes: 128 << 20, share: 1 }, NEVER);
    await using base = await log.openBase();
    if (base === null) throw new Error('nothing was folded');
    const took = new Float64Array(5000);
    let found = 0;
    let most = 0;
    for (let at = 0; at < took.length; at++) {
      const key = buildKey([name((at * 104_729) % keys)]);
      const before = counted.reads();
      const began = performance.now();
      const row = await base.find(1, key);
      took[at] = performance.now() - began;
      most = Math.max(most, counted.reads() - before);
      if (row !== null) found++;
    }
    const sorted = took.toSorted();
    const [p50 = 0, p99 = 0] = [sorted[took.length >> 1], sorted[Math.floor(took.length * 0.99)]];
    console.log(
      `${keys} keys (${SCALE} of ${WANTED_KEYS}): a row by its key in ${p50.toFixed(2)} ms (p50), ${p99.toFixed(2)} ms (p99), ${most} blocks at most; ` +
        'each level of a run leads to hundreds of blocks: fifty times the keys are one level more',
    );
    expect(found).toBeGreaterThan(took.length * 0.9);
    expect(most).toBeLessThanOrEqual(12);
  });
});

/** The same files, with the number of reads so far. */
function countingReads(files: FileSystem): { readonly files: FileSystem; reads(): number } {
  let reads = 0;
  const counting: FileSystem = {
    ...files,
    async open(path, mode) {
      const file = await files.open(path, mode);
      return {
        write: (bytes, position) => file.write(bytes, position),
        read: (into, position) => {
          reads++;
          return file.read(into, position);
        },
        sync: () => file.sync(),
        truncate: (length) => file.truncate(length),
        size: () => file.size(),
        close: () => file.close(),
      };
    },
  };
  return { files: counting, reads: () => reads };
}

/**
 * Milliseconds that opening takes without changing a file: the least of several, since what another process takes from one
 * of them would count for each of the segments that it stands for.
 */
async function openingMs(data: string): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let opening = 0; opening < OPENINGS; opening++) {
    const before = performance.now();
    await using engine = await EmbeddedLogEngine.openReadOnly(data, createTestRuntime());
    await engine.open(SOURCE, { create: false });
    least = Math.min(least, performance.now() - before);
  }
  return least;
}
