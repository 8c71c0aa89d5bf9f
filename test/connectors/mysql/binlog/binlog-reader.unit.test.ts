import { describe, expect, test } from 'vitest';
import { EventFlag } from '../../../../connectors/mysql/binlog/event-header.ts';
import { EventType } from '../../../../connectors/mysql/binlog/event-types.ts';
import type { TableMap } from '../../../../connectors/mysql/binlog/table-map.ts';
import { ColumnType } from '../../../../connectors/mysql/binlog/column-types.ts';
import { decimalBytes, valueEnd, valueWidth } from '../../../../connectors/mysql/binlog/value-width.ts';
import { eventSpans, goldenLog, goldenLogs } from '../golden/golden.ts';
import { makeEvent, u16, u64, withChecksum } from './make-event.ts';
import { hear, type Heard, recorder } from './recorder.ts';

const log = goldenLog('mysql-9', 'rows');
const spans = eventSpans(log.bytes);

function eventAt(index: number): Buffer {
  const { start, end } = spans[index] ?? { start: 0, end: 0 };
  return log.bytes.subarray(start, end);
}

/** Behind the format description of a server with checksums. */
function described(position = 4) {
  const { reader, heard } = recorder({ file: log.file, position });
  // As a server sends it that begins within a file.
  const description = Buffer.from(eventAt(0));
  if (position > 4) description.writeUInt32LE(0, 13);
  reader.event(withChecksum(description), 0, description.length);
  heard.length = 0;
  return { reader, heard, take: (event: Buffer) => reader.event(event, 0, event.length) };
}

function details(heard: readonly Heard[], what: string): unknown[] {
  return heard.flatMap((one) => (one.what === what && 'detail' in one ? [one.detail] : []));
}

describe('checksums', () => {
  test('a damaged byte anywhere is found', () => {
    const { take } = described();
    for (let at = 0; at < eventAt(3).length; at += 7) {
      if (at >= 9 && at < 13) continue;
      const damaged = Buffer.from(eventAt(3));
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      expect(() => take(damaged)).toThrow(expect.objectContaining({ code: 'MYSQL_CHECKSUM', where: { position: `${log.file}:127` } }));
    }
  });

  test('a format description that is in use has the checksum of one that is not', () => {
    const { reader } = recorder({ file: log.file });
    const inUse = Buffer.from(eventAt(0));
    inUse.writeUInt16LE(EventFlag.inUse, 17);
    reader.event(inUse, 0, inUse.length);
    expect(reader.format.serverVersion).toMatch(/^9\./);
    const damaged = Buffer.from(inUse);
    damaged[60] = (damaged[60] ?? 0) ^ 1;
    expect(() => reader.event(damaged, 0, damaged.length)).toThrow(expect.objectContaining({ code: 'MYSQL_CHECKSUM' }));
  });

  test.each([true, false])('a rotation before the description is read whether it has a checksum or not (%s)', (checksum) => {
    const { reader, heard } = recorder();
    const event = makeEvent(EventType.rotate, Buffer.concat([u64(4n), Buffer.from('binlog.000009')]), { flags: EventFlag.artificial, timestamp: 0, checksum });
    reader.event(event, 0, event.length);
    expect(details(heard, 'rotate')).toEqual([{ file: 'binlog.000009', position: 4, isArtificial: true }]);
    expect(reader.place).toBe('binlog.000009:4');
  });

  test('logs without checksums are read without', () => {
    const minimal = goldenLog('mariadb-11.8', 'minimal');
    expect(hear(minimal.bytes, minimal.file).length).toBeGreaterThan(5);
  });
});

describe('events that servers seldom write', () => {
  test('heartbeats of both kinds', () => {
    const { take, heard, reader } = described();
    take(makeEvent(EventType.heartbeat, Buffer.from(log.file), { endPosition: 700, checksum: true }));
    expect(reader.position).toBe(700);
    const name = Buffer.from(log.file);
    const fields = Buffer.concat([Buffer.from([1, name.length]), name, Buffer.from([2, 9, 0xfe]), u64(5_000_000_000n), Buffer.from([0])]);
    take(makeEvent(EventType.heartbeatV2, fields, { checksum: true }));
    expect(details(heard, 'heartbeat')).toEqual([{ file: log.file, position: 700 }, { file: log.file, position: 5_000_000_000 }]);
    expect(reader.position).toBe(5_000_000_000);
  });

  test('an incident, with and without a message', () => {
    const { take, heard } = described();
    take(makeEvent(EventType.incident, Buffer.concat([u16(1), Buffer.from([4]), Buffer.from('lost')]), { checksum: true }));
    take(makeEvent(EventType.incident, u16(1), { checksum: true }));
    expect(details(heard, 'incident')).toEqual([{ number: 1, message: 'lost' }, { number: 1, message: '' }]);
  });

  test('a kind that is not known is passed over where it may be, else it stops the stream', () => {
    const { take, heard } = described();
    take(makeEvent(99, Buffer.from('later'), { flags: EventFlag.ignorable, checksum: true }));
    take(makeEvent(EventType.ignorable, Buffer.from('x'), { checksum: true }));
    take(makeEvent(EventType.stop, Buffer.alloc(0), { checksum: true }));
    expect(heard).toEqual([]);
    expect(() => take(makeEvent(99, Buffer.from('later'), { checksum: true }))).toThrow(expect.objectContaining({ code: 'MYSQL_EVENT_UNKNOWN' }));
  });

  test('rows without a table map, and a table map of more columns', () => {
    const { take } = described();
    expect(() => take(eventAt(6 + 1))).toThrow(expect.objectContaining({ code: 'MYSQL_BINLOG' }));
    take(eventAt(6));
    expect(() => take(withChecksum(Buffer.from(eventAt(7)).fill(10, 29, 30)))).toThrow(expect.objectContaining({ code: 'MYSQL_BINLOG' }));
  });

  test('a LOAD DATA in statement format', () => {
    const { take, heard } = described();
    const fixed = Buffer.concat([Buffer.alloc(8), Buffer.from([2]), Buffer.alloc(2), Buffer.alloc(2), Buffer.alloc(13)]);
    take(makeEvent(EventType.executeLoadQuery, Buffer.concat([fixed, Buffer.from('db\0LOAD DATA')]), { checksum: true }));
    expect(details(heard, 'loadData')).toMatchObject([{ database: 'db', statement: 'LOAD DATA' }]);
  });
});

describe('places', () => {
  const xid = (endPosition: number): Buffer => makeEvent(EventType.xid, u64(1n), { endPosition, checksum: true });

  test('go on beyond 4 GiB, where headers have the low 32 bits only', () => {
    const { take, reader } = described(2 ** 32 - 20);
    take(xid(11));
    expect([reader.start, reader.position]).toEqual([2 ** 32 - 20, 2 ** 32 + 11]);
    take(xid(0));
    expect(reader.position).toBe(2 ** 32 + 11 + 31);
  });

  test('jump where the server passes over events', () => {
    const { take, reader } = described();
    take(xid(5_000));
    expect([reader.start, reader.position]).toEqual([5_000 - 31, 5_000]);
  });
});

describe('table maps', () => {
  const tableMaps = (version: string, scenario: string): TableMap[] => {
    const { bytes, file } = goldenLog(version, scenario);
    return details(hear(bytes, file), 'tableMap') as TableMap[];
  };

  test('the same map is the same object', () => {
    const [first, ...others] = tableMaps('mysql-9', 'rows').filter(({ table }) => table === 'orders');
    expect(others.length).toBeGreaterThan(3);
    for (const map of others) expect(map).toBe(first);
  });

  test.each(goldenLogs().filter(({ scenario }) => scenario === 'rows').map(({ version }) => version))('full metadata of %s', (version) => {
    const map = tableMaps(version, 'rows').find(({ table }) => table === 'orders');
    const { optional } = map ?? { optional: null };
    expect(optional?.names).toEqual(['id', 'customer', 'note', 'amount', 'quantity', 'state', 'flags', 'at', 'body']);
    expect(optional?.labels?.[5]?.map(String)).toEqual(['new', 'paid', 'sent']);
    expect(optional?.labels?.[6]?.map(String)).toEqual(['gift', 'rush', 'größe']);
    expect(optional?.primaryKey).toEqual([{ column: 0, prefix: 0 }]);
    expect([...(optional?.unsigned ?? [])]).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 0]);
    const [, customer, note] = optional?.collations ?? [];
    expect(note).toBe(8);
    expect([45, 255, 2304]).toContain(customer);
    expect(optional?.collations?.[8]).toBe(63);
    expect(map?.types[5]).toBe(ColumnType.enum);
    expect(map?.types[6]).toBe(ColumnType.set);
    expect([...(map?.nullable ?? [])]).toEqual([0, 0, 1, 0, 1, 0, 1, 0, 1]);
  });

  const versionsWith = (wanted: string): string[] => goldenLogs().flatMap(({ scenario, version }) => (scenario === wanted ? [version] : []));

  test.each(versionsWith('types'))('unsigned numbers around a year: %s', (version) => {
    const { names, unsigned } = tableMaps(version, 'types').find(({ table }) => table === 'types')?.optional ?? {};
    expect(names?.filter((name, column) => unsigned?.[column] === 1 && name !== 'y')).toEqual(['tu', 'mu', 'bu']);
  });

  test.each(versionsWith('metadata'))('columns that count, and columns that do not, in a row: %s', (version) => {
    const { names, unsigned, collations, labels, labelCollations, geometryKinds, primaryKey, visible } =
      tableMaps(version, 'metadata').find(({ table }) => table === 'mixed')?.optional ?? {};
    const of = <T>(values: ArrayLike<T> | null | undefined): Record<string, T | undefined> => Object.fromEntries((names ?? []).map((name, column) => [name, values?.[column]]));
    expect(names).toEqual(['a', 'place', 'e', 'b', 'u', 'line', 's', 'y', 'c', 'unseen', 'big']);
    expect(of(unsigned)).toMatchObject({ u: 1, unseen: 0, big: 1 });
    expect(of(collations)).toMatchObject({ a: 8, c: version === 'mariadb-11.8' ? 2560 : 35 });
    expect([33, 2048]).toContain(of(collations)['b']);
    expect(of(labelCollations)).toMatchObject({ e: 9, s: version === 'mariadb-11.8' ? 2304 : version.startsWith('mysql') ? 255 : expect.any(Number) as unknown });
    expect(of(labels)['e']?.map((label) => label.toString('hex'))).toEqual(['78', 'df']);
    expect(of(labels)['s']?.map(String)).toEqual(['p', 'q', 'r']);
    expect(of(geometryKinds)).toMatchObject({ place: 1, line: 2 });
    expect(primaryKey).toEqual([{ column: 0, prefix: 7 }, { column: 4, prefix: 0 }]);
    if (version === 'mysql-9' || version === 'mysql-8.0') expect(of(visible)).toMatchObject({ a: 1, unseen: 0, big: 1 });
    else expect(visible).toBeNull();
  });

  test('a column that an index on an expression has is in the rows of the oldest servers alone', () => {
    const names = (version: string): unknown => tableMaps(version, 'metadata').find(({ table }) => table === 'functional')?.optional.names;
    expect(names('mysql-8.0.15')).toEqual(['id', 'doc', 'name', expect.stringMatching(/^[0-9a-f]{32}$/)]);
    expect(names('mysql-8.0')).toEqual(['id', 'doc', 'name']);
  });

  test.each(goldenLogs().filter(({ scenario }) => scenario === 'minimal').map(({ version }) => version))('minimal metadata of %s', (version) => {
    const { optional } = tableMaps(version, 'minimal')[0] ?? {};
    expect(optional).toMatchObject({ names: null, labels: null, primaryKey: null, visible: null });
    expect(optional?.unsigned?.[0]).toBe(1);
    expect(optional?.collations?.[2]).toBe(8);
  });

  test('a vector has its dimensions (MySQL)', () => {
    const [map] = tableMaps('mysql-9', 'vectors');
    expect([...(map?.optional.vectorDimensions ?? [])]).toEqual([0, 3]);
  });
});

describe('widths', () => {
  test('of decimals', () => {
    expect([decimalBytes(1, 0), decimalBytes(9, 0), decimalBytes(10, 0), decimalBytes(12, 2), decimalBytes(65, 30)]).toEqual([1, 4, 5, 6, 30]);
  });

  test('of strings by their longest length', () => {
    expect(valueWidth(ColumnType.varchar, 255)).toBe(-1);
    expect(valueWidth(ColumnType.varchar, 256)).toBe(-2);
    // char(255) of four bytes each: 1020 bytes, whose upper bits are kept inverted in the type.
    expect(valueWidth(ColumnType.string, 0xce | (0xfc << 8))).toBe(-2);
    expect(valueWidth(ColumnType.string, 0xfe | (0x28 << 8))).toBe(-1);
    expect(valueWidth(ColumnType.string, ColumnType.enum | (2 << 8))).toBe(2);
  });

  test('a value ends at its limit or not at all', () => {
    const bytes = Buffer.from([3, 0, 0, 0, 1, 2, 3]);
    expect(valueEnd(-4, bytes, 0, 7)).toBe(7);
    expect(valueEnd(-4, bytes, 0, 6)).toBe(-1);
    expect(valueEnd(-4, bytes, 5, 7)).toBe(-1);
    expect(valueEnd(-1, bytes, 7, 7)).toBe(-1);
    expect(valueEnd(-4, Buffer.from([0xff, 0xff, 0xff, 0xff]), 0, 4)).toBe(-1);
    expect(valueEnd(2, bytes, 5, 7)).toBe(7);
  });

  test('types and metadata that nobody writes are refused', () => {
    for (const [type, metadata] of [[0, 0], [99, 0], [ColumnType.blob, 5], [ColumnType.newDecimal, 66], [ColumnType.time2, 7], [ColumnType.bit, 8]] as const) {
      expect(() => valueWidth(type, metadata)).toThrow(expect.objectContaining({ code: 'MYSQL_BINLOG' }));
    }
  });
});
