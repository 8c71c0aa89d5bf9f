import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MariadbGtids } from '../../../connectors/mysql/mariadb-gtid.ts';

const malformed: unknown = expect.objectContaining({ code: 'MYSQL_GTID' });

test('text and bytes give the same back', () => {
  const gtid = fc.record({ domain: fc.nat(0xffff_ffff), server: fc.nat(0xffff_ffff), sequence: fc.nat(Number.MAX_SAFE_INTEGER) });
  fc.assert(fc.property(fc.array(gtid, { maxLength: 8 }), (some) => {
    const gtids = new MariadbGtids();
    for (const one of some) gtids.set(one);
    expect(MariadbGtids.parse(gtids.toString()).all).toEqual(gtids.all);
    expect(MariadbGtids.decode(gtids.encode()).all).toEqual(gtids.all);
    expect(gtids.orderTo(MariadbGtids.decode(gtids.encode()))).toBe('equal');
  }));
});

test('one per domain, printed in the order of domains', () => {
  expect(MariadbGtids.parse(' 3-1-1, 0-2-13 ,1-2-1').toString()).toBe('0-2-13,1-2-1,3-1-1');
  expect(MariadbGtids.parse('').isEmpty).toBe(true);
  expect(() => MariadbGtids.parse('0-1-1,0-2-5')).toThrow(malformed);
});

test('of a list event the last of each domain counts, and flags in its count do not', () => {
  const two = MariadbGtids.parse('0-2-9,1-1-5').encode();
  const event = Buffer.concat([Buffer.from([3, 0, 0, 0x10]), MariadbGtids.parse('0-1-8').encode().subarray(4), two.subarray(4)]);
  expect(MariadbGtids.decode(event).toString()).toBe('0-2-9,1-1-5');
});

test.each(['0-1', '0-1-2-3', 'a-b-c', '4294967296-1-1', '0-1-9223372036854775807', '0-1-1,,'])('refuses %s', (text) => {
  expect(() => MariadbGtids.parse(text)).toThrow(malformed);
});

test('damaged bytes are refused', () => {
  const good = MariadbGtids.parse('0-2-9,1-1-5').encode();
  for (let cut = 0; cut < good.length; cut++) expect(() => MariadbGtids.decode(good.subarray(0, cut))).toThrow(malformed);
  expect(() => MariadbGtids.decode(Buffer.concat([good, Buffer.alloc(1)]))).toThrow(malformed);
  expect(() => MariadbGtids.decode(Buffer.from(good.toString('hex').replace(/00000000$/, '00002000'), 'hex'))).toThrow(malformed);
});
