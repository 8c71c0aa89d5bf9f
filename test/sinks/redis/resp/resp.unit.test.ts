import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ChunkPool, CHUNK_BYTES, CommandBuffer, encodeArgument } from '../../../../sinks/redis/resp/command-buffer.ts';
import { ReplyError, ReplyReader, Skipped, type Reply } from '../../../../sinks/redis/resp/reply-reader.ts';
import { crc16, slotOf, tagOf } from '../../../../sinks/redis/resp/slot.ts';

const argument = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const command = fc.array(argument, { minLength: 1, maxLength: 12 });

/** A command is an array of bulk strings: what reads replies reads it back. */
function readAll(bytes: Buffer, cuts: readonly number[]): Reply[] {
  const reader = new ReplyReader();
  const replies: Reply[] = [];
  let from = 0;
  for (const cut of [...cuts.map((at) => at % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]) {
    if (cut > from) reader.push(Buffer.from(bytes.subarray(from, cut)));
    from = Math.max(from, cut);
    for (let reply = reader.value(); reply !== undefined; reply = reader.value()) replies.push(reply);
  }
  expect(reader.isEmpty).toBe(true);
  return replies;
}

function encode(reply: Reply): string {
  if (reply === null) return '$-1\r\n';
  if (typeof reply === 'number') return `:${reply}\r\n`;
  if (typeof reply === 'string') return `+${reply}\r\n`;
  if (reply instanceof ReplyError) return `-${reply.text}\r\n`;
  if (Buffer.isBuffer(reply)) return `$${reply.length}\r\n${reply.toString('latin1')}\r\n`;
  return `*${reply.length}\r\n${reply.map(encode).join('')}`;
}

const line = fc.stringMatching(/^[A-Za-z ]{0,20}$/);
const { reply: anyReply } = fc.letrec<{ reply: Reply }>((tie) => ({
  reply: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.integer(),
    line,
    line.map((text) => new ReplyError(text)),
    fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
    fc.array(tie('reply'), { maxLength: 5 }),
  ),
}));

describe('CommandBuffer', () => {
  test('what it writes reads back as the same arguments', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 6 }), (commands, cuts) => {
        const out = new CommandBuffer(new ChunkPool(), true);
        for (const words of commands) out.command(...words);
        const chunk = out.take();
        expect(chunk.commands).toBe(commands.length);
        expect(readAll(chunk.bytes, cuts)).toEqual(commands);
        const pieces = chunk.starts.map((start, i) => readAll(Buffer.from(chunk.bytes.subarray(start, chunk.starts[i + 1] ?? chunk.bytes.length)), [])[0]);
        expect(pieces).toEqual(commands);
      }),
    );
  });

  test('an argument of unknown length is the same as one whose length was known', () => {
    fc.assert(
      fc.property(argument, argument, (value, after) => {
        const out = new CommandBuffer(new ChunkPool());
        out.begin(3);
        out.raw(encodeArgument('SET'));
        const mark = out.beginOpen();
        for (const byte of value.subarray(0, 10)) out.byte(byte);
        out.bytesOf(value, Math.min(10, value.length), value.length);
        out.endOpen(mark);
        out.argument(after, 0, after.length);
        expect(readAll(out.take().bytes, [])).toEqual([[Buffer.from('SET'), value, after]]);
      }),
    );
  });

  test('grows for a value larger than a chunk, and every length of the header is right', () => {
    for (const size of [0, 9, 10, 99, 100, 999, 1000, 12_345, CHUNK_BYTES - 5, CHUNK_BYTES, 3 * CHUNK_BYTES]) {
      const out = new CommandBuffer(new ChunkPool());
      const value = Buffer.alloc(size, 'v');
      out.command('GET', value);
      const [reply] = readAll(out.take().bytes, []);
      expect((reply as Buffer[])[1]?.equals(value), `size ${size}`).toBe(true);
      out.command('PING');
      expect(readAll(out.take().bytes, [])).toEqual([[Buffer.from('PING')]]);
    }
  });
});

describe('ReplyReader', () => {
  test('reads any replies, cut anywhere', () => {
    fc.assert(
      fc.property(fc.array(anyReply, { maxLength: 6 }), fc.array(fc.nat(), { maxLength: 10 }), (replies, cuts) => {
        expect(readAll(Buffer.from(replies.map(encode).join(''), 'latin1'), cuts)).toEqual(replies);
      }),
    );
  });

  test('skips any replies, cut anywhere, and tells which were errors', () => {
    fc.assert(
      fc.property(fc.array(anyReply, { maxLength: 6 }), fc.integer({ min: 1, max: 7 }), (replies, size) => {
        const bytes = Buffer.from(['QUEUED', ...replies, 'QUEUED'].map(encode).join(''), 'latin1');
        const reader = new ReplyReader();
        const kinds: number[] = [];
        for (let at = 0; at < bytes.length; at += size) {
          reader.push(Buffer.from(bytes.subarray(at, at + size)));
          for (let kind = reader.skip(); kind !== Skipped.more; kind = reader.skip()) kinds.push(kind);
        }
        const expected = replies.map((reply) => (reply === null ? Skipped.none : reply instanceof ReplyError ? Skipped.error : Skipped.plain));
        expect(kinds).toEqual([Skipped.plain, ...expected, Skipped.plain]);
      }),
      // Two replies that together are as long as QUEUED.
      { examples: [[['QA', ' '], 6]] },
    );
  });

  test('any bytes give replies or REDIS_PROTOCOL, never anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, skip) => {
        const reader = new ReplyReader();
        reader.push(Buffer.from(bytes));
        try {
          for (let n = 0; n < 300; n++) if (skip ? reader.skip() === Skipped.more : reader.value() === undefined) return;
          throw new Error('it never ends');
        } catch (error) {
          expect(error).toMatchObject({ code: 'REDIS_PROTOCOL' });
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('a large value is put together once, however many chunks it comes in', () => {
    const value = Buffer.alloc(1 << 20, 'x');
    const reader = new ReplyReader();
    reader.push(Buffer.from(`$${value.length}\r\n`));
    expect(reader.value()).toBeUndefined();
    for (let at = 0; at < value.length; at += 4096) {
      reader.push(value.subarray(at, at + 4096));
      expect(reader.value()).toBeUndefined();
    }
    reader.push(Buffer.from('\r\n:7\r\n'));
    expect((reader.value() as Buffer).equals(value)).toBe(true);
    expect(reader.value()).toBe(7);
  });

  test.each(['$99999999999\r\n', '*99999999\r\n', '$-2\r\n', ':1x\r\n', '?\r\n', `${'*1\r\n'.repeat(20)}:1\r\n`, '$3\r\nabcd\r\n', '+a\rb'])(
    'refuses %j before it allocates anything for it', (text) => {
      const reader = new ReplyReader();
      reader.push(Buffer.from(text, 'latin1'));
      expect(() => reader.value()).toThrow(expect.objectContaining({ code: 'REDIS_PROTOCOL' }));
    },
  );
});

describe('slots', () => {
  const slot = (key: string): number => slotOf(Buffer.from(key), 0, Buffer.byteLength(key));

  test('are those of the cluster specification', () => {
    const digits = Buffer.from('123456789');
    expect(crc16(digits, 0, digits.length)).toBe(0x31c3);
    expect(slot('foo')).toBe(12_182);
    expect(slot('{user1000}.following')).toBe(slot('{user1000}.followers'));
    expect(slot('foo{}{bar}')).toBe(slotOf(Buffer.from('xfoo{}{bar}'), 1, 11));
    expect(slot('foo{{bar}}zap')).toBe(slot('{bar'));
    expect(slot('foo{bar}{zap}')).toBe(slot('bar'));
  });

  test('a tag can be found for every slot', () => {
    for (const wanted of [0, 1, 5460, 5461, 16_383]) expect(slot(`{${tagOf(wanted)}}anything`)).toBe(wanted);
  });
});
