import { Readable } from 'node:stream';
import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EventSplitter, parsePayloadHead, type PayloadHead, readPayload, streamPayload } from '../../../../connectors/mysql/binlog/payload.ts';
import { makeEvent } from './make-event.ts';

const never = new AbortController().signal;

function head(content: Buffer, payload: Buffer): PayloadHead {
  return { compression: 'zstd', size: payload.length, uncompressedSize: content.length, headBytes: 0 };
}

async function streamed(of: PayloadHead, payload: Readable, signal = never): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of streamPayload(of, payload, signal)) pieces.push(piece);
  return Buffer.concat(pieces);
}

test('however a payload is cut, its events are the same; those above the limit are passed over', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(120), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 6 }),
      (bodies, sizes) => {
        const limit = 100;
        const events = bodies.map((length, index) => makeEvent(2, Buffer.alloc(length, index)));
        const heard: (Buffer | string)[] = [];
        const splitter = new EventSplitter(
          {
            event: (bytes, start, end) => void heard.push(Buffer.from(bytes.subarray(start, end))),
            tooLarge: (bytes, start) => void heard.push(`too large: ${bytes.readUInt32LE(start + 9)}`),
          },
          limit,
        );
        const content = Buffer.concat(events);
        for (let at = 0, index = 0; at < content.length; index++) {
          const size = sizes[index % sizes.length] ?? 1;
          splitter.push(content.subarray(at, at + size));
          at += size;
        }
        splitter.finish();
        expect(heard).toEqual(events.map((event) => (event.length > limit ? `too large: ${event.length}` : event)));
      },
    ),
  );
});

test('a payload that ends inside an event is refused', () => {
  const splitter = new EventSplitter({ event: () => undefined, tooLarge: () => undefined }, 1_000);
  splitter.push(makeEvent(2, Buffer.alloc(30)).subarray(0, 40));
  expect(() => splitter.finish()).toThrow(expect.objectContaining({ code: 'MYSQL_BINLOG' }));
});

test('at once and in pieces give the same', async () => {
  const content = Buffer.from(Array.from({ length: 500_000 }, (_, index) => (index * 7919) % 251));
  const payload = zstdCompressSync(content);
  expect(readPayload(head(content, payload), payload).equals(content)).toBe(true);
  const cut = Array.from({ length: Math.ceil(payload.length / 1_000) }, (_, index) => payload.subarray(index * 1_000, (index + 1) * 1_000));
  expect((await streamed(head(content, payload), Readable.from(cut))).equals(content)).toBe(true);
});

test('content that is longer or shorter than announced, or damaged, is refused', async () => {
  const content = Buffer.alloc(100_000, 3);
  const payload = zstdCompressSync(content);
  const wrong: [PayloadHead, Buffer][] = [
    [{ ...head(content, payload), uncompressedSize: content.length - 1 }, payload],
    [{ ...head(content, payload), uncompressedSize: content.length + 1 }, payload],
    [head(content, payload), Buffer.concat([Buffer.from([1, 2, 3, 4]), payload.subarray(4)])],
    [head(content, payload.subarray(0, 20)), payload.subarray(0, 20)],
  ];
  for (const [of, bytes] of wrong) {
    expect(() => readPayload(of, bytes)).toThrow(expect.objectContaining({ code: 'MYSQL_BINLOG' }));
    await expect(streamed(of, Readable.from([bytes]))).rejects.toMatchObject({ code: 'MYSQL_BINLOG' });
  }
});

test('a failure of the source, and an abort, end the stream', async () => {
  const content = Buffer.alloc(100_000, 3);
  const payload = zstdCompressSync(content);
  const failing = new Readable({ read: () => undefined });
  failing.push(payload.subarray(0, 10));
  setImmediate(() => failing.destroy(new Error('cut off')));
  await expect(streamed(head(content, payload), failing)).rejects.toThrow('cut off');
  const abort = new AbortController();
  const waiting = new Readable({ read: () => undefined });
  setImmediate(() => abort.abort());
  await expect(streamed(head(content, payload), waiting, abort.signal)).rejects.toMatchObject({ name: 'AbortError' });
  expect(waiting.destroyed).toBe(true);
});

test('a head with fields in any order, and fields that are not known', () => {
  const fields = Buffer.from([3, 2, 0xc8 - 0, 0, 9, 3, 1, 2, 3, 2, 1, 0, 1, 1, 50, 0]);
  expect(parsePayloadHead(Buffer.from(fields), 0, fields.length)).toEqual({ compression: 'zstd', size: 50, uncompressedSize: 200, headBytes: fields.length });
  for (const bad of [[0], [1, 1], [2, 1, 7, 1, 1, 5, 0], [1, 1, 0xfc, 1, 1, 0]]) {
    expect(() => parsePayloadHead(Buffer.from(bad), 0, bad.length)).toThrow(expect.objectContaining({ code: 'MYSQL_BINLOG' }));
  }
});
