import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Fate, type MessageTaker, PacketReader } from '../../../../connectors/mysql/wire/packet-reader.ts';
import { packetsOf } from './packets.ts';

const PEEK = 32;

interface Heard {
  readonly fate: Fate | 'whole';
  readonly bytes: Buffer | number;
}

/** Pauses after each message or piece where `pauses` says so, and is resumed by the test. */
function listener(fateOf: (first: number) => Fate, pauses: () => boolean): { taker: MessageTaker; heard: Heard[] } {
  const heard: Heard[] = [];
  let pieces: Buffer[] = [];
  const taker: MessageTaker = {
    message(bytes, start, end) {
      heard.push({ fate: 'whole', bytes: Buffer.from(bytes.subarray(start, end)) });
      return !pauses();
    },
    fate: (bytes, start, end) => {
      expect(end - start).toBeGreaterThanOrEqual(PEEK);
      return fateOf(bytes[start] ?? 0);
    },
    piece(bytes) {
      pieces.push(bytes);
      return !pauses();
    },
    done(fate, length) {
      heard.push({ fate, bytes: fate === 'pieces' ? Buffer.concat(pieces) : length });
      pieces = [];
      return !pauses();
    },
  };
  return { taker, heard };
}

function cut(stream: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, index = 0; at < stream.length; index++) {
    const size = sizes[index % sizes.length] ?? 1;
    chunks.push(stream.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

function feed(reader: PacketReader, chunks: readonly Buffer[]): void {
  for (const chunk of chunks) {
    reader.push(chunk);
    while (reader.paused) reader.resume();
  }
}

const FATES: readonly Fate[] = ['gather', 'drop', 'pieces'];

test('however the bytes are cut and whenever reading pauses, the messages are the same', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 30 }),
      fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 8 }),
      fc.array(fc.boolean(), { minLength: 1, maxLength: 8 }),
      (messages, sizes, pattern) => {
        let turn = 0;
        const { taker, heard } = listener((first) => FATES[first % 3] ?? 'gather', () => pattern[turn++ % pattern.length] ?? false);
        feed(new PacketReader(taker, PEEK), cut(packetsOf(messages.map((message) => Buffer.from(message)), 0), sizes));
        expect(heard).toHaveLength(messages.length);
        for (const [index, { fate, bytes }] of heard.entries()) {
          const message = Buffer.from(messages[index] ?? []);
          if (fate === 'drop') expect(bytes).toBe(message.length);
          else expect(bytes).toEqual(message);
        }
      },
    ),
  );
});

test('while it is paused nothing is handed on, and nothing is lost', () => {
  const { taker, heard } = listener(() => 'gather', () => true);
  const reader = new PacketReader(taker, PEEK);
  reader.push(packetsOf([Buffer.from('a'), Buffer.from('b'), Buffer.from('c')], 0));
  expect(heard).toHaveLength(1);
  reader.push(packetsOf([Buffer.from('d')], 3));
  for (let count = 2; count <= 4; count++) {
    reader.resume();
    expect(heard).toHaveLength(count);
  }
  expect(heard.map(({ bytes }) => String(bytes)).join('')).toBe('abcd');
});

test.each([0xff_ffff - 1, 0xff_ffff, 0xff_ffff + 5])('a message of %i bytes goes over its packets', (length) => {
  const message = Buffer.alloc(length, 7);
  for (const fate of FATES) {
    const { taker, heard } = listener(() => fate, () => false);
    feed(new PacketReader(taker, PEEK), cut(packetsOf([message, Buffer.from('next')], 0), [65_536]));
    expect(heard).toHaveLength(2);
    expect(heard[0]?.fate).toBe(fate === 'gather' ? 'whole' : fate);
    if (fate === 'drop') expect(heard[0]?.bytes).toBe(length);
    else expect(message.equals(heard[0]?.bytes as Buffer)).toBe(true);
  }
});

test('a packet out of order is refused', () => {
  const { taker } = listener(() => 'gather', () => false);
  const reader = new PacketReader(taker, PEEK);
  reader.expect(1);
  expect(() => reader.push(packetsOf([Buffer.from('x')], 2))).toThrow(expect.objectContaining({ code: 'MYSQL_PROTOCOL' }));
});
