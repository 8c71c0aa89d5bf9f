import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameReader } from '../../../../connectors/postgres/stream/frames.ts';

function message(kind: number, body: Uint8Array): Buffer {
  const bytes = Buffer.alloc(5 + body.length);
  bytes[0] = kind;
  bytes.writeUInt32BE(4 + body.length, 1);
  bytes.set(body, 5);
  return bytes;
}

/** Cuts the bytes at the given places. */
function chunks(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].toSorted((a, b) => a - b);
  return places.slice(1).map((end, index) => Buffer.from(bytes.subarray(places[index], end)));
}

const messages = fc.array(fc.tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 3000 })), { maxLength: 30 });
const ALL = { above: Number.MAX_SAFE_INTEGER, peek: 1, keep: () => true };

describe('messages out of chunks', () => {
  it('come whole and in order however they are cut, also with pauses', () => {
    fc.assert(fc.property(messages, fc.array(fc.nat()), fc.infiniteStream(fc.boolean()), (sent, cuts, pauses) => {
      const bytes = Buffer.concat(sent.map(([kind, body]) => message(kind, body)));
      const seen: [number, string][] = [];
      const reader = new FrameReader((kind, from, start, end) => {
        seen.push([kind, from.toString('hex', start, end)]);
        return pauses.next().value === true;
      }, ALL);
      for (const chunk of chunks(bytes, cuts)) reader.push(chunk);
      while (reader.paused) reader.resume();
      expect(seen).toEqual(sent.map(([kind, body]) => [kind, Buffer.from(body).toString('hex')]));
      expect(reader.waitingBytes).toBe(0);
    }));
  });

  it('that are too large are shown by their beginning and dropped', () => {
    fc.assert(fc.property(messages, fc.array(fc.nat()), (sent, cuts) => {
      const bytes = Buffer.concat(sent.map(([kind, body]) => message(kind, body)));
      const seen: string[] = [];
      const dropped: number[] = [];
      const reader = new FrameReader((_kind, from, start, end) => {
        seen.push(from.toString('hex', start, end));
        return true;
      }, {
        above: 1000,
        peek: 20,
        keep: (_kind, from, start, end, length) => {
          expect(end - start).toBeGreaterThanOrEqual(20);
          expect(from.length).toBeGreaterThanOrEqual(end);
          dropped.push(length);
          return false;
        },
      });
      for (const chunk of chunks(bytes, cuts)) reader.push(chunk);
      // A message that lies whole in a chunk is there already: only one that would have to be gathered is dropped.
      expect(seen.length + dropped.length).toBe(sent.length);
      for (const length of dropped) expect(length).toBeGreaterThan(1000);
    }));
  });

  it('whose length is impossible are refused', () => {
    for (const length of [0, 3, 0x7fff_ffff, 0xffff_ffff]) {
      const bytes = message(0x64, new Uint8Array(20));
      bytes.writeUInt32BE(length, 1);
      expect(() => new FrameReader(() => true, ALL).push(bytes)).toThrow(expect.objectContaining({ code: 'POSTGRES_PROTOCOL' }));
      const reader = new FrameReader(() => true, ALL);
      expect(() => {
        for (const chunk of chunks(bytes, [1, 2, 3, 4, 5, 6])) reader.push(chunk);
      }).toThrow(expect.objectContaining({ code: 'POSTGRES_PROTOCOL' }));
    }
  });
});
