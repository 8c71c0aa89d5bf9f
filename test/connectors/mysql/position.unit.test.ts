import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GtidSet } from '../../../connectors/mysql/gtid-set.ts';
import { MariadbGtids } from '../../../connectors/mysql/mariadb-gtid.ts';
import { PositionWriter } from '../../../connectors/mysql/position-writer.ts';
import { decodePlace, encodePlace, formatBinlogFile, mysqlPositions, parseBinlogFile, type MariadbPlace, type MysqlPlace } from '../../../connectors/mysql/position.ts';

const A = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
const B = 'a14ba678-e605-11f1-93ea-02fc00000001';

function mysql(set: string, rest: Partial<MysqlPlace> = {}): MysqlPlace {
  return { flavor: 'mysql', server: A, file: 'binlog.000003', offset: 4711, isByGtid: true, executed: GtidSet.parse(set), ...rest };
}

function mariadb(set: string, rest: Partial<MariadbPlace> = {}): MariadbPlace {
  return { flavor: 'mariadb', server: '7', file: 'binlog.000003', offset: 4711, isByGtid: true, executed: MariadbGtids.parse(set), ...rest };
}

const compare = (a: MysqlPlace | MariadbPlace, b: MysqlPlace | MariadbPlace): number => Math.sign(mysqlPositions.compare(encodePlace(a), encodePlace(b)));
const foreign: unknown = expect.objectContaining({ code: 'POSITION_FOREIGN' });
const unreadable: unknown = expect.objectContaining({ code: 'POSITION_SYNTAX' });

test('a position is byte for byte as its comment says', () => {
  expect(Buffer.from(encodePlace(mysql(`${B}:1-77`))).toString('hex')).toBe(
    `0100010603000000${'6712000000000000'}${A.replaceAll('-', '')}${Buffer.from('binlog').toString('hex')}` +
    `0100000000000000${B.replaceAll('-', '')}010000000000000001000000000000004e00000000000000`);
  expect(Buffer.from(encodePlace(mariadb('3-9-258', { file: '', offset: 0 }))).toString('hex')).toBe(
    '01010100000000000000000000000000' + '000000000000000000000000' + '07000000' + '01000000' + '0300000009000000' + '0201000000000000');
});

test('what a position says is given back', () => {
  const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 9 });
  fc.assert(fc.property(name, fc.nat(), fc.nat(), fc.boolean(), (base, number, offset, isByGtid) => {
    const file = formatBinlogFile({ base, number: number % 2 ** 31 });
    expect(parseBinlogFile(file)).toEqual({ base, number: number % 2 ** 31 });
    const prepared = [{ xid: '1:6f:', gtid: `${A}:4`, file, offset, after: '' }, { xid: '7:6f:ff', gtid: '', file, offset: 4, after: '0-1-5' }];
    const of = { file, offset, isByGtid };
    for (const place of [mysql(`${A}:1-5:x:2`, of), mariadb('0-1-5,3-1-2', of), mysql(`${A}:1-5:x:2`, { ...of, prepared }), mariadb('', { ...of, prepared })]) {
      expect(decodePlace(encodePlace(place))).toEqual(place);
    }
  }));
});

test('bytes that are no position are refused as such', () => {
  const prepared = [{ xid: '1:6f:', gtid: `${A}:4`, file: 'binlog.000003', offset: 700, after: '' }];
  const good = [mysql(`${A}:1-5`), mysql(`${A}:1-5`, { prepared })].map((place) => Buffer.from(encodePlace(place)));
  fc.assert(fc.property(fc.constantFrom(...good), fc.nat(), fc.nat(255), fc.nat(), (one, place, value, end) => {
    const bytes = Buffer.from(one);
    bytes[place % one.length] = value;
    const cut = end % (one.length + 1);
    try {
      mysqlPositions.format(bytes.subarray(0, cut));
    } catch (error) {
      expect(error).toMatchObject({ code: 'POSITION_SYNTAX' });
    }
  }), { numRuns: 1000 });
  expect(() => mysqlPositions.compare(Buffer.alloc(0), Buffer.alloc(0))).toThrow(unreadable);
});

describe('order', () => {
  test('of sets: part of the other comes before, whatever the servers', () => {
    expect(compare(mysql(`${A}:1-5`), mysql(`${A}:1-6`))).toBe(-1);
    expect(compare(mysql(`${A}:1-5,${B}:1`), mysql(`${A}:1-5`, { server: B, file: 'other.000009' }))).toBe(1);
    expect(compare(mysql(`${A}:1-5`), mysql(`${A}:1-5`, { server: B, file: 'other.000009' }))).toBe(0);
    expect(compare(mysql(''), mysql(`${A}:1`))).toBe(-1);
  });

  test('of sets that have diverged: none', () => {
    expect(() => compare(mysql(`${A}:1-5`), mysql(`${A}:1-4,${B}:1`))).toThrow(foreign);
    expect(() => compare(mysql(`${A}:1-5:7`), mysql(`${A}:1-6`))).toThrow(foreign);
  });

  test('without GTIDs: file and offset of the same server', () => {
    const at = (file: string, offset: number, server = A): MysqlPlace => mysql('', { isByGtid: false, file, offset, server });
    expect(compare(at('binlog.000009', 9), at('binlog.000010', 4))).toBe(-1);
    expect(compare(at('binlog.999999', 9), at('binlog.1000000', 4))).toBe(-1);
    expect(compare(at('binlog.000009', 9), at('binlog.000009', 4))).toBe(1);
    expect(compare(at('binlog.000009', 9), at('binlog.000009', 9))).toBe(0);
    expect(() => compare(at('binlog.000009', 9), at('binlog.000010', 4, B))).toThrow(foreign);
    expect(() => compare(at('binlog.000009', 9), at('mysql-bin.000010', 4))).toThrow(foreign);
    expect(() => compare(mysql(`${A}:1`, { file: '' }), at('mysql-bin.000010', 4))).toThrow(foreign);
  });

  test('GTIDs turned on or off in between: by file', () => {
    expect(compare(mysql('', { isByGtid: false, offset: 4710 }), mysql(`${A}:1-5`))).toBe(-1);
    expect(() => compare(mysql('', { isByGtid: false, server: B }), mysql(`${A}:1-5`))).toThrow(foreign);
  });

  test('of MariaDB: in every domain; without strict mode by the files of one server', () => {
    expect(compare(mariadb('0-1-5'), mariadb('0-2-9', { server: '8', file: 'x.000001' }))).toBe(-1);
    expect(compare(mariadb('0-1-5,1-1-1'), mariadb('0-1-5'))).toBe(1);
    expect(compare(mariadb('0-1-5,1-1-1'), mariadb('0-1-6,1-1-1'))).toBe(-1);
    expect(compare(mariadb('0-2-5', { offset: 9 }), mariadb('0-1-5', { offset: 8 }))).toBe(1);
    expect(compare(mariadb('0-1-6,1-1-1', { offset: 7 }), mariadb('0-1-5,1-1-2', { offset: 8 }))).toBe(-1);
    expect(() => compare(mariadb('0-2-5'), mariadb('0-1-5', { server: '8' }))).toThrow(foreign);
    expect(() => compare(mariadb('0-2-5'), mysql(`${A}:1-5`))).toThrow(foreign);
  });

  test('of two prefixes of one history is that of their lengths', () => {
    const history = fc.array(fc.record({ source: fc.constantFrom(A, B, `${B}:t`), gap: fc.nat(2) }), { minLength: 2, maxLength: 30 });
    fc.assert(fc.property(history, fc.nat(), fc.nat(), (steps, one, two) => {
      const last = new Map<string, number>();
      const sets = [''];
      const set = new GtidSet();
      for (const { source, gap } of steps) {
        last.set(source, (last.get(source) ?? 0) + 1 + gap);
        set.add(source, last.get(source) as number);
        sets.push(set.toString());
      }
      const [a, b] = [one % sets.length, two % sets.length];
      expect(compare(mysql(sets[a] as string), mysql(sets[b] as string))).toBe(Math.sign(a - b));
    }));
  });
});

describe('for people', () => {
  const like = encodePlace(mysql(`${A}:1-70,${B}:1-3`));

  test('a position prints as its GTIDs, or as file and offset', () => {
    expect(mysqlPositions.format(like)).toBe(`${A}:1-70,${B}:1-3`);
    expect(mysqlPositions.format(encodePlace(mysql(`${A}:1`, { isByGtid: false })))).toBe('binlog.000003:4711');
    expect(mysqlPositions.format(encodePlace(mysql('')))).toBe('binlog.000003:4711');
    expect(mysqlPositions.format(encodePlace(mariadb('1-2-5,0-1-77')))).toBe('0-1-77,1-2-5');
  });

  test('and is read again, with or without prefix', () => {
    for (const place of [mysql(`${A}:1-70,${B}:1-3`), mariadb('0-1-77,1-2-5'), mysql('', { isByGtid: false })]) {
      const position = encodePlace(place);
      const text = mysqlPositions.format(position);
      for (const prefix of ['', place.isByGtid ? 'gtid:' : 'binlog:']) expect(mysqlPositions.compare(mysqlPositions.parse(prefix + text, position), position)).toBe(0);
    }
    expect(decodePlace(mysqlPositions.parse('binlog:my-bin.1000000:123', like))).toMatchObject({ file: 'my-bin.1000000', offset: 123, server: A, isByGtid: false });
  });

  test('a single GTID means the first place that has it', () => {
    expect(mysqlPositions.compare(mysqlPositions.parse(`${A}:77`, like), like)).toBe(1);
    expect(mysqlPositions.compare(mysqlPositions.parse(`gtid:${A}:70`, like), like)).toBe(0);
    expect(mysqlPositions.format(mysqlPositions.parse(`${A}:tag:2`, like))).toBe(`${A}:1-70:tag:1-2,${B}:1-3`);
  });

  test.each(['', 'gtid:', 'binlog:x', 'uuid:1', '0-1-77', 'binlog.000003:99999999999999999999', 'binlog:.1:4:5'])('refuses %j', (text) => {
    expect(() => mysqlPositions.parse(text, like)).toThrow(unreadable);
  });

  test('GTIDs are refused where they are not the coordinate', () => {
    expect(() => mysqlPositions.parse(`${A}:1`, encodePlace(mysql('', { isByGtid: false })))).toThrow(unreadable);
  });
});

describe('the writer', () => {
  const uuid = (text: string): Buffer => Buffer.from(`ff${text.replaceAll('-', '')}`, 'hex');

  test('gives the position that encoding anew would give', () => {
    const step = fc.record({ uuid: fc.constantFrom(A, B), tag: fc.constantFrom('', 't', 'u'), skip: fc.constantFrom(0, 0, 0, 1), rotate: fc.constantFrom(false, false, true) });
    fc.assert(fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const writer = new PositionWriter(mysql(`${A}:1-9`));
      const model = GtidSet.parse(`${A}:1-9`);
      let [file, offset] = [3, 4711];
      for (const { uuid: of, tag, skip, rotate } of steps) {
        const source = tag === '' ? of : `${of}:${tag}`;
        const number = model.next(source) + skip;
        model.add(source, number);
        offset += 100;
        if (rotate) writer.open(formatBinlogFile({ base: 'binlog', number: ++file }), (offset = 4));
        writer.addGtid(uuid(of), 1, tag, number);
        const position = writer.at(offset);
        expect(position).toEqual(encodePlace(mysql(model.toString(), { file: formatBinlogFile({ base: 'binlog', number: file }), offset })));
      }
    }));
  });

  test('hands out copies', () => {
    const writer = new PositionWriter(mysql(`${A}:1-9`));
    const before = writer.at(5000);
    const kept = Buffer.from(before);
    writer.addGtid(uuid(A), 1, '', 10);
    expect(mysqlPositions.compare(before, writer.at(6000))).toBeLessThan(0);
    expect(before).toEqual(kept);
  });

  test('of MariaDB: domains come and go on', () => {
    const step = fc.record({ domain: fc.nat(3), server: fc.integer({ min: 1, max: 2 }) });
    fc.assert(fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const writer = new PositionWriter(mariadb('0-1-5'));
      const model = MariadbGtids.parse('0-1-5');
      for (const [index, { domain, server }] of steps.entries()) {
        const gtid = { domain, server, sequence: index + 6 };
        model.set(gtid);
        writer.addMariadbGtid(gtid);
        expect(writer.at(index)).toEqual(encodePlace(mariadb(model.toString(), { offset: index })));
      }
    }));
  });

  test('another server goes on with the same set', () => {
    const writer = new PositionWriter(mysql(`${A}:1-9`));
    writer.open('other.000001', 4, B);
    writer.addGtid(uuid(B), 1, '', 1);
    expect(decodePlace(writer.at(200))).toEqual(mysql(`${A}:1-9,${B}:1`, { server: B, file: 'other.000001', offset: 200 }));
    writer.countBy(false);
    expect(decodePlace(writer.at(300))).toMatchObject({ isByGtid: false, offset: 300 });
  });
});
