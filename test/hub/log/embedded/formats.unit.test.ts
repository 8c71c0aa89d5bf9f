import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { LogWorkload, seededUnit } from '../../../../contracts/kit/log-workload.ts';
import { recordsOf, ReferenceLog } from '../../../../contracts/kit/reference-log.ts';
import { BATCH_HEADER, batchBytes, decodeBatchHeader, decodeBody, encodeBatchHead, encodedHeadBytes } from '../../../../hub/log/embedded/segments/batch-codec.ts';
import { checkTransactions, hasContent, joinBatches, splitBatch, splitIndex, surveyRecords, trimBatch } from '../../../../hub/log/embedded/segments/batch-rules.ts';
import { readI64, readU64, writeI64, writeU64 } from '../../../../hub/log/embedded/bytes.ts';
import { epochOf, epochsWith } from '../../../../hub/log/embedded/epochs.ts';
import { decodeManifest, encodeManifest, type Manifest } from '../../../../hub/log/embedded/manifest.ts';
import { RecentBatches } from '../../../../hub/log/embedded/reading/recent-batches.ts';
import { decodeIndex, SegmentIndexBuilder } from '../../../../hub/log/embedded/segments/segment-index.ts';
import { decodeSegmentHeader, encodeSegmentHeader, fileNumber, indexFile, segmentFile } from '../../../../hub/log/embedded/segments/segment.ts';

const STAMP = { logId: '0123456789abcdef'.repeat(2), epoch: 'fedcba9876543210'.repeat(2), openAfter: false, durableOffset: 3, durableBytes: 2 ** 40 };
const safe = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

function workload(seed: number, batches: number): ChangeBatch[] {
  const made = new LogWorkload({ unit: seededUnit(seed), tables: 2, valueBytes: 60 });
  let next = 1;
  return Array.from({ length: batches }, () => {
    const batch = made.next().placedAt(next);
    next += batch.count;
    return batch;
  });
}

function encoded(batch: ChangeBatch): Buffer {
  const head = Buffer.alloc(encodedHeadBytes(batch));
  encodeBatchHead(batch, STAMP, head);
  return Buffer.concat([head, batch.records]);
}

describe('numbers', () => {
  it('keeps every safe integer', () => {
    fc.assert(
      fc.property(safe, fc.maxSafeInteger(), (unsigned, signed) => {
        const bytes = Buffer.alloc(16);
        writeI64(bytes, signed, writeU64(bytes, unsigned, 0));
        expect(bytes.readBigUInt64BE(0)).toBe(BigInt(unsigned));
        expect(bytes.readBigInt64BE(8)).toBe(BigInt(signed));
        expect([readU64(bytes, 0), readI64(bytes, 8)]).toEqual([unsigned, signed]);
      }),
    );
  });

  it('refuses what is above 2^53 - 1', () => {
    const bytes = Buffer.alloc(8, 0xff);
    expect(() => readU64(bytes, 0)).toThrow('above 2^53 - 1');
    bytes[0] = 0x7f;
    expect(() => readI64(bytes, 0)).toThrow('safe integer');
  });
});

describe('batches', () => {
  it('come back as they were', () => {
    for (const batch of workload(1, 200)) {
      const bytes = encoded(batch);
      const header = decodeBatchHeader(bytes, 0);
      if (header === null) throw new Error('no header');
      expect(header).toMatchObject({ ...STAMP, base: batch.baseOffset, count: batch.count });
      expect(batchBytes(header)).toBe(bytes.length);
      const decoded = decodeBody(header, bytes.subarray(BATCH_HEADER));
      expect(decoded).toMatchObject({ baseOffset: batch.baseOffset, count: batch.count });
      expect(decoded?.transactions).toEqual(batch.transactions.map((entry) => ({ ...entry, position: Buffer.from(entry.position) })));
      expect(Buffer.from(decoded?.progress ?? [])).toEqual(Buffer.from(batch.progress ?? []));
      expect(recordsOf(decoded ?? batch)).toEqual(recordsOf(batch));
    }
  });

  it('damaged anywhere are no batches', () => {
    const [batch] = workload(5, 40).filter((one) => one.count > 2);
    if (batch === undefined) throw new Error('no batch');
    const whole = encoded(batch);
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const bytes = Buffer.from(whole);
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const header = decodeBatchHeader(bytes, 0);
      expect(header === null ? null : decodeBody(header, bytes.subarray(BATCH_HEADER))).toBeNull();
    }
    for (let length = 0; length < whole.length; length++) {
      const header = decodeBatchHeader(whole.subarray(0, length), 0);
      expect(header === null ? null : decodeBody(header, whole.subarray(BATCH_HEADER, length))).toBeNull();
    }
  });

  it('are split so that nothing committed stands with an open transaction', () => {
    for (const batch of workload(9, 300)) {
      const index = splitIndex(batch);
      if (index === null) {
        expect(batch.transactions.length <= 1 || !batch.endsOpen).toBe(true);
        continue;
      }
      const [committed, open] = splitBatch(batch, index, surveyRecords(batch, index, () => undefined).splitByte);
      expect(committed.endsOpen).toBe(false);
      expect(open.transactions).toHaveLength(1);
      expect([...recordsOf(committed), ...recordsOf(open)]).toEqual(recordsOf(batch));
    }
  });

  it('are joined to what one batch would have been', () => {
    for (let seed = 30; seed < 60; seed++) {
      const batches = workload(seed, 12);
      const apart = new ReferenceLog();
      for (const batch of batches) apart.append(batch);
      const joined = joinBatches(batches);
      expect(checkTransactions(joined, false)).toBe(apart.inTransaction);
      const together = new ReferenceLog();
      together.append(joined);
      expect(together.records).toEqual(apart.records);
      expect(together.transactions).toEqual(apart.transactions);
      expect(together.position).toBe(apart.inTransaction ? apart.transactions.findLast((one) => one.kind === 'source')?.position ?? null : apart.position);
    }
  });

  it('are trimmed to exactly the records of a range, with the entries that touch it', () => {
    for (const batch of workload(13, 120)) {
      const records = recordsOf(batch);
      for (let after = batch.baseOffset - 2; after <= batch.lastOffset + 1; after++) {
        for (let to = Math.max(after, 0); to <= batch.lastOffset + 2; to++) {
          const trimmed = trimBatch(batch, after, to);
          const expected = records.filter(({ offset }) => offset > after && offset <= to);
          expect(trimmed === null ? [] : recordsOf(trimmed)).toEqual(expected);
          if (trimmed === null) continue;
          expect(hasContent(trimmed)).toBe(true);
          let first = 0;
          for (const entry of trimmed.transactions) {
            expect(entry.first).toBe(first);
            first += entry.count;
          }
          expect(first).toBe(trimmed.count);
          expect(trimmed.transactions.slice(0, -1).every((entry) => entry.commits)).toBe(true);
          expect(trimmed.transactions.slice(1).every((entry) => entry.begins)).toBe(true);
        }
      }
    }
  });
});

describe('segment header and file names', () => {
  it('come back, and are nothing when damaged', () => {
    const header = { logId: STAMP.logId, epoch: STAMP.epoch, base: 2 ** 50, number: 12_345_678_901 };
    const bytes = encodeSegmentHeader(header);
    expect(decodeSegmentHeader(bytes)).toEqual(header);
    for (let at = 0; at < bytes.length; at++) {
      const harmed = Buffer.from(bytes);
      harmed[at] = (harmed[at] ?? 0) ^ 0x10;
      expect(decodeSegmentHeader(harmed)).toBeNull();
    }
    expect(fileNumber(segmentFile(7))).toBe(7);
    expect(fileNumber(indexFile(12_345_678_901))).toBe(12_345_678_901);
    expect(['manifest', '1.segment', '0000000001.segment.new'].map(fileNumber)).toEqual([null, null, null]);
  });
});

const COMMIT = { segment: 2, position: 77, offset: 30, sourcePosition: Buffer.from('here'), commitTime: 1_700_000_000_000_001 };

describe('segment index', () => {
  it('comes back, finds places, and knows tables', () => {
    const index = new SegmentIndexBuilder();
    for (let at = 0; at < 100; at++) index.addPlace(1 + at * 10, 64 + at * 100_000);
    index.addTable(5);
    index.maxCommitTime = 12;
    index.hasContent = true;
    const control = { offset: 31, record: workload(1, 10).find((batch) => batch.count === 1)?.records ?? Buffer.alloc(0) };
    const bytes = index.encode(3, 5000, COMMIT, control.record.length === 0 ? [] : [control]);
    const stored = decodeIndex(bytes, 3);
    expect(stored?.index.places.length).toBe(34);
    expect(stored?.controls.map((one) => one.offset)).toEqual(control.record.length === 0 ? [] : [31]);
    expect(stored?.index.placeBefore(1)).toBeNull();
    expect(stored?.index.placeBefore(2)).toEqual({ base: 1, position: 64 });
    expect(stored?.index.placeBefore(31)).toEqual({ base: 1, position: 64 });
    expect(stored?.index.placeBefore(32)).toEqual({ base: 31, position: 300_064 });
    expect([stored?.index.mayHold(5), stored?.index.mayHold(6)]).toEqual([true, false]);
    expect(stored).toMatchObject({ bytes: 5000, hasContent: true, maxCommitTime: 12, commit: COMMIT });
    expect(decodeIndex(bytes, 4)).toBeNull();
    for (let at = 0; at < bytes.length; at++) {
      const harmed = Buffer.from(bytes);
      harmed[at] = (harmed[at] ?? 0) ^ 1;
      expect(decodeIndex(harmed, 3)).toBeNull();
    }
    index.cut(300_064);
    expect(index.snapshot().places).toHaveLength(1);
    expect(index.hasContent).toBe(true);
    index.cut(64);
    expect(index.hasContent).toBe(false);
  });

  it('goes on from its stored form', () => {
    const index = new SegmentIndexBuilder();
    for (let at = 0; at < 10; at++) index.addPlace(1 + at * 10, 64 + at * 300_000);
    index.addTable(5);
    for (const commit of [null, COMMIT, { ...COMMIT, sourcePosition: null }]) {
      const bytes = index.encode(1, 9000, commit, []);
      const stored = decodeIndex(bytes, 1);
      if (stored === null) throw new Error('it does not come back');
      expect(stored.commit).toEqual(commit);
      expect(SegmentIndexBuilder.of(stored).encode(1, 9000, commit, [])).toEqual(bytes);
    }
  });

  it('stops to list tables when there are too many', () => {
    const index = new SegmentIndexBuilder();
    for (let table = 0; table <= 1 << 16; table++) index.addTable(table);
    expect(decodeIndex(index.encode(1, 0, null, []), 1)?.index.mayHold(1 << 30)).toBe(true);
  });
});

describe('manifest', () => {
  const manifest: Manifest = {
    source: 'shop', logId: STAMP.logId, horizon: 0, base: null, leases: [], nextBase: 1, durable: 9, epochs: [{ id: STAMP.epoch, start: 0 }], nextSegment: 4, sealedPosition: 'ff', sealedCommitTime: 5,
    segments: [
      { state: 'sealed', number: 1, epoch: STAMP.epoch, base: 1, last: 5, bytes: 100, controls: 0, maxCommitTime: 3 },
      { state: 'closed', number: 2, epoch: STAMP.epoch, base: 6, last: 5, bytes: 64 },
      { state: 'active', number: 3, epoch: STAMP.epoch, base: 6 },
    ],
  };

  it('comes back, and is refused when damaged', () => {
    const bytes = encodeManifest(manifest);
    expect(decodeManifest(bytes, 'm')).toEqual(manifest);
    for (let at = 0; at < bytes.length; at++) {
      const harmed = Buffer.from(bytes);
      harmed[at] = (harmed[at] ?? 0) ^ 1;
      // An older format lacks fields, and says nothing else.
      if (harmed.toString('latin1').startsWith('tidemark-log 2 ')) expect(decodeManifest(harmed, 'm')).toEqual(manifest);
      else expect(() => decodeManifest(harmed, 'm')).toThrow(TidemarkError);
    }
    expect(() => decodeManifest(bytes.subarray(0, 30), 'm')).toThrow('instead of');
  });

  it('is refused when its segments do not follow each other', () => {
    const [sealed, closed, active] = manifest.segments;
    if (sealed === undefined || closed === undefined || active === undefined) throw new Error('no segments');
    const wrong = [[closed, sealed], [active, active], [sealed, { ...closed, base: 7 }], [{ ...active, number: 4 }], [active, closed]];
    for (const segments of wrong) expect(() => decodeManifest(encodeManifest({ ...manifest, segments }), 'm')).toThrow('segment');
  });
});

describe('recent batches', () => {
  it('are found by their place, and bounded in bytes', () => {
    const recent = new RecentBatches(20_000);
    const batches = workload(2, 3000).filter((batch) => batch.count > 0);
    const placed = batches.map((batch, at) => ({ segment: 1 + Math.floor(at / 50), position: 64 + (at % 50) * 10, end: 74 + (at % 50) * 10, batch }));
    for (const one of placed) {
      recent.push(one);
      expect(recent.bytes).toBeLessThanOrEqual(20_000);
      expect(recent.find(one.segment, one.position)).toBe(one);
    }
    const kept = placed.filter((one) => recent.find(one.segment, one.position) !== undefined);
    expect(kept).toEqual(placed.slice(-kept.length));
    expect(kept.length).toBeGreaterThan(5);
    expect(recent.find(1, 64)).toBeUndefined();
    recent.clear();
    expect(recent.find(placed.at(-1)?.segment ?? 0, placed.at(-1)?.position ?? 0)).toBeUndefined();
  });
});

describe('epochs', () => {
  it('are found by the record that they wrote', () => {
    const epochs = [{ id: 'a', start: 0 }, { id: 'b', start: 0 }, { id: 'c', start: 10 }, { id: 'd', start: 10 }];
    expect([0, 1, 10, 11].map((offset) => epochOf(epochs, offset))).toEqual(['a', 'b', 'b', 'd']);
    expect(() => epochOf([], 1)).toThrow('no epoch');
  });

  it('without a record do not pile up', () => {
    let epochs = [{ id: 'first', start: 0 }];
    for (let at = 0; at < 1000; at++) epochs = epochsWith(epochs, { id: `e${at}`, start: 7 });
    expect(epochs.length).toBeLessThan(20);
    expect(epochs.at(-1)?.id).toBe('e999');
    expect(epochs[0]?.id).toBe('first');
    expect(epochsWith(epochs, { id: 'next', start: 9 }).map((epoch) => epoch.id)).toContain('e999');
  });
});
