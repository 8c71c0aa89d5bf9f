import { describe, expect, test } from 'vitest';
import type { GtidEvent, MariadbGtidEvent } from '../../../../connectors/mysql/binlog/gtid-events.ts';
import { GtidSet } from '../../../../connectors/mysql/gtid-set.ts';
import { MariadbGtids, parseMariadbGtid } from '../../../../connectors/mysql/mariadb-gtid.ts';
import type { MysqlPlace } from '../../../../connectors/mysql/position.ts';
import type { PreparedXa } from '../../../../connectors/mysql/prepared-xa.ts';
import { resumeAt } from '../../../../connectors/mysql/stream/gate.ts';

const A = '3e11fa47-71ca-11e1-9e33-c80aa9429562';

function mysql(set: string, rest: Partial<MysqlPlace> = {}): MysqlPlace {
  return { flavor: 'mysql', server: A, file: 'binlog.000003', offset: 900, isByGtid: true, executed: GtidSet.parse(set), ...rest };
}

function prepared(rest: Partial<PreparedXa>): PreparedXa {
  return { xid: '1:6f:', gtid: '', file: 'binlog.000002', offset: 500, after: '', ...rest };
}

function gtid(number: number): GtidEvent {
  return { uuid: Buffer.from(A.replaceAll('-', ''), 'hex'), tag: '', number, commitTime: 0, originalCommitTime: 0, length: 0, originalVersion: 0 };
}

function mariadb(text: string): MariadbGtidEvent {
  return { gtid: parseMariadbGtid(text), standalone: false, isDdl: false, xa: 'none', alter: 'none', alterStart: 0 };
}

describe('without prepared transactions a stream begins where the log is, and all that comes is news', () => {
  test('by GTIDs, by file, by domains', () => {
    const set = mysql(`${A}:1-9`);
    expect(resumeAt(set, true).start).toEqual({ by: 'gtids', executed: set.executed.encode() });
    expect(resumeAt(set, false).start).toEqual({ by: 'file', file: 'binlog.000003', offset: 900 });
    expect(resumeAt(mysql('', { isByGtid: false }), true).start).toEqual({ by: 'file', file: 'binlog.000003', offset: 900 });
    const domains = { ...set, flavor: 'mariadb', server: '7', executed: MariadbGtids.parse('0-1-9,3-1-1') } as const;
    expect(resumeAt(domains, true).start).toEqual({ by: 'domains', last: '0-1-9,3-1-1' });
    expect(resumeAt(domains, true).gate.fate(null, mariadb('0-1-2'), 'x', 4)).toBe('take');
  });
});

describe('with prepared transactions it begins at the first of them', () => {
  test('by GTIDs: the server sends them, and what is new', () => {
    const { start, gate } = resumeAt(mysql(`${A}:1-9`, { prepared: [prepared({ gtid: `${A}:4` }), prepared({ xid: '1:70:', gtid: `${A}:7` })] }), true);
    expect(start).toEqual({ by: 'gtids', executed: GtidSet.parse(`${A}:1-3:5-6:8-9`).encode() });
    expect([4, 7, 10, 11].map((number) => gate.fate(gtid(number), null, 'x', 4))).toEqual(['prepared', 'prepared', 'take', 'take']);
  });

  test('by file: what the log has is passed over', () => {
    const { start, gate } = resumeAt(mysql('', { isByGtid: false, prepared: [prepared({}), prepared({ file: 'binlog.000003', offset: 600 })] }), false);
    expect(start).toEqual({ by: 'file', file: 'binlog.000002', offset: 500 });
    const places = [['binlog.000002', 500], ['binlog.000002', 600], ['binlog.000003', 600], ['binlog.000003', 899], ['binlog.000003', 900], ['binlog.000004', 4]] as const;
    expect(places.map(([file, offset]) => gate.fate(null, null, file, offset))).toEqual(['prepared', 'skip', 'prepared', 'skip', 'take', 'take']);
  });

  test('by domains: each until its own transaction of the log has come by', () => {
    const place = { flavor: 'mariadb', server: '7', file: '', offset: 0, isByGtid: true, executed: MariadbGtids.parse('0-1-9,1-1-5,2-1-1') } as const;
    const { start, gate } = resumeAt({ ...place, prepared: [prepared({ gtid: '0-1-4', after: '0-1-3,1-1-5' })] }, true);
    expect(start).toEqual({ by: 'domains', last: '0-1-3,1-1-5' });
    const come = ['0-1-4', '0-2-12', '1-1-6', '2-1-1', '0-1-9', '2-1-2', '0-1-10'];
    expect(come.map((text) => gate.fate(null, mariadb(text), 'x', 4))).toEqual(['prepared', 'skip', 'take', 'skip', 'skip', 'take', 'take']);
  });
});
