import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import type { LargePayload } from '../../../../connectors/mysql/binlog/binlog-reader.ts';
import { PayloadFeed } from '../../../../connectors/mysql/wire/payload-feed.ts';
import { makeEvent } from '../binlog/make-event.ts';

const PAYLOAD = 'payload '.repeat(50);
const HEAD = Buffer.from('head');

function feedOf(event: Buffer, checksumBytes: number): PayloadFeed {
  const head = { compression: 'none', size: PAYLOAD.length, uncompressedSize: PAYLOAD.length, headBytes: HEAD.length } as const;
  const large: LargePayload = { head, eventBytes: event.length, endPosition: 0, payloadAt: 19 + HEAD.length, whole: null };
  return new PayloadFeed(large, checksumBytes, () => undefined);
}

function give(feed: PayloadFeed, event: Buffer, size: number): void {
  for (let at = 0; at < event.length; at += size) feed.take(event.subarray(at, at + size));
  feed.end();
}

test.each([1, 3, 7, 25, 1_000])('the payload alone comes out, however the event is cut (%i)', async (size) => {
  for (const checksum of [true, false]) {
    const event = makeEvent(40, Buffer.concat([HEAD, Buffer.from(PAYLOAD)]), { checksum });
    const feed = feedOf(event, checksum ? 4 : 0);
    give(feed, event, size);
    expect(await text(feed.readable)).toBe(PAYLOAD);
  }
});

test('a damaged byte fails the payload before its end', async () => {
  const event = makeEvent(40, Buffer.concat([HEAD, Buffer.from(PAYLOAD)]), { checksum: true });
  for (const at of [0, 20, 60, event.length - 1]) {
    const damaged = Buffer.from(event);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    const feed = feedOf(event, 4);
    give(feed, damaged, 50);
    await expect(text(feed.readable)).rejects.toMatchObject({ code: 'MYSQL_CHECKSUM' });
  }
});

test('an event that ends early fails', async () => {
  const event = makeEvent(40, Buffer.concat([HEAD, Buffer.from(PAYLOAD)]), { checksum: true });
  const feed = feedOf(event, 4);
  give(feed, event.subarray(0, 100), 50);
  await expect(text(feed.readable)).rejects.toMatchObject({ code: 'MYSQL_BINLOG' });
});
