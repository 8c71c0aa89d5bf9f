import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GtidSet } from '../../../connectors/mysql/gtid-set.ts';

const A = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
const B = 'a14ba678-e605-11f1-93ea-02fc00000001';
const C = 'aaaaaaaa-e605-11f1-93ea-02fc00000001';

const sources = fc.constantFrom(A, B, `${A}:nightly`, `${A}:a_1`, `${B}:nightly`);
const ranges = fc.array(fc.record({ source: sources, first: fc.integer({ min: 1, max: 40 }), length: fc.integer({ min: 0, max: 9 }) }), { maxLength: 25 });
type Ranges = readonly { source: string; first: number; length: number }[];

function setOf(some: Ranges): GtidSet {
  const set = new GtidSet();
  for (const { source, first, length } of some) set.addRange(source, first, first + length);
  return set;
}

/** Each transaction by itself. */
function modelOf(some: Ranges): Set<string> {
  return new Set(some.flatMap(({ source, first, length }) => Array.from({ length }, (_, index) => `${source}#${first + index}`)));
}

function membersOf(set: GtidSet): Set<string> {
  const members = new Set<string>();
  for (const source of set.sources) for (let number = 1; number < set.next(source); number++) if (set.has(source, number)) members.add(`${source}#${number}`);
  return members;
}

test('sets do as sets of single transactions do', () => {
  fc.assert(fc.property(ranges, ranges, (one, two) => {
    const [a, b, x, y] = [setOf(one), setOf(two), modelOf(one), modelOf(two)];
    expect(membersOf(a)).toEqual(x);
    expect(a.count()).toBe(x.size);
    expect(a.isEmpty).toBe(x.size === 0);
    expect(membersOf(a.union(b))).toEqual(new Set([...x, ...y]));
    expect(membersOf(a.subtract(b))).toEqual(new Set([...x].filter((one) => !y.has(one))));
    const isWithin = [...x].every((one) => y.has(one));
    expect(a.isSubsetOf(b)).toBe(isWithin);
    expect(a.equals(b)).toBe(x.size === y.size && isWithin);
    expect(membersOf(a)).toEqual(x);
  }));
});

test('text and bytes give the same set back, and one set has one text', () => {
  fc.assert(fc.property(ranges, (some) => {
    const set = setOf(some);
    expect(GtidSet.parse(set.toString()).equals(set)).toBe(true);
    expect(GtidSet.parse(set.format()).format()).toBe(set.format());
    const bytes = set.encode();
    expect(bytes.length).toBe(set.encodedLength());
    expect(GtidSet.decode(bytes).format()).toBe(set.format());
    expect(setOf(some.toReversed()).encode()).toEqual(bytes);
  }));
});

test('one by one, in any order, is as all at once', () => {
  fc.assert(fc.property(ranges, fc.infiniteStream(fc.nat()), (some, random) => {
    const all = [...modelOf(some)].map((text) => ({ text, at: random.next().value as number })).toSorted((a, b) => a.at - b.at);
    const set = new GtidSet();
    for (const { text } of all) set.add(text.split('#')[0] as string, Number(text.split('#')[1]));
    expect(set.format()).toBe(setOf(some).format());
  }));
});

test('where the last intervals end can be moved on in place', () => {
  fc.assert(fc.property(ranges, (some) => {
    const set = setOf(some);
    const ends = new Map<string, number>();
    const bytes = Buffer.alloc(set.encodedLength());
    set.encodeInto(bytes, 0, ends);
    for (const source of set.sources) {
      bytes.writeUInt32LE(set.next(source) + 1, ends.get(source) as number);
      set.add(source, set.next(source));
    }
    expect(bytes).toEqual(set.encode());
  }));
});

test('the text is the server\'s: UUIDs in order, numbers without tag first, then the tags', () => {
  const text = `${C}:3:1-2:Zed:9:A:4:2-3, ${B.toUpperCase()} : 9-7 : 4,,{${A.replaceAll('-', '')}}:1-77\n`;
  expect(GtidSet.parse(text).format()).toBe(`${A}:1-77,\n${B}:4,\n${C}:1-3:a:2-4:zed:9`);
  expect(GtidSet.parse('').format()).toBe('');
  expect(GtidSet.parse(' , ').isEmpty).toBe(true);
});

test('bytes of previous GTIDs with tags, as MySQL 9.7 has written them', () => {
  const hex = '0106000000000001a14ba678e60511f193ea02fc0000000100010000000000000001000000000000001100000000000000a14ba678e60511f193ea02fc' +
    '00000001406132333435363738393031323334353637383930313233343536373839303132010000000000000001000000000000000200000000000000a14ba6' +
    '78e60511f193ea02fc000000010a6261725f31010000000000000001000000000000000200000000000000a14ba678e60511f193ea02fc0000000106666f6f01' +
    '0000000000000001000000000000000300000000000000aaaaaaaae60511f193ea02fc0000000100010000000000000007000000000000000800000000000000' +
    'aaaaaaaae60511f193ea02fc00000001067a6564010000000000000009000000000000000a00000000000000';
  const set = GtidSet.decode(Buffer.from(hex, 'hex'));
  expect(set.format()).toBe(`${B}:1-16:a2345678901234567890123456789012:1:bar_1:1:foo:1-2,\n${C}:7:zed:9`);
  expect(set.encode().toString('hex')).toBe(hex);
});

test.each(['uuid:1', A, `${A}:`, `${A}:0`, `${A}:1-`, `${A}:1-2-3`, `${A}:9223372036854775806`, `${A}:${'t'.repeat(33)}:1`, `${A}:1:ta-g:1`, `${A};${B}`])(
  'refuses %s', (text) => {
    expect(() => GtidSet.parse(text)).toThrow(expect.objectContaining({ code: 'MYSQL_GTID' }));
  },
);

test('damaged bytes are refused or read, and nothing else', () => {
  const good = GtidSet.parse(`${A}:1-5:9:nightly:3,${B}:7`).encode();
  fc.assert(fc.property(fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc.record({ at: fc.nat(good.length - 1), value: fc.nat(255), cut: fc.nat(good.length) }).map(({ at, value, cut }) => {
      const bytes = Buffer.from(good);
      bytes[at] = value;
      return bytes.subarray(0, cut);
    }),
  ), (bytes) => {
    try {
      expect(GtidSet.decode(GtidSet.decode(bytes).encode()).count()).toBeGreaterThanOrEqual(0);
    } catch (error) {
      expect(error).toMatchObject({ code: 'MYSQL_GTID' });
    }
  }), { numRuns: 500 });
});

test('numbers out of range are refused, in bytes and one by one', () => {
  const set = new GtidSet();
  expect(() => set.add(A, 0)).toThrow(expect.objectContaining({ code: 'MYSQL_GTID' }));
  expect(() => set.add(A, Number.MAX_SAFE_INTEGER)).toThrow(expect.objectContaining({ code: 'MYSQL_GTID' }));
  set.add(A, Number.MAX_SAFE_INTEGER - 1);
  expect(() => set.add(A, Number.MAX_SAFE_INTEGER)).toThrow(expect.objectContaining({ code: 'MYSQL_GTID' }));
  expect(GtidSet.decode(set.encode()).equals(set)).toBe(true);
});
