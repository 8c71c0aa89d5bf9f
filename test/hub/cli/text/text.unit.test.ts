import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { TableSchema } from '../../../../contracts/schema.ts';
import { prettyLine } from '../../../../hub/cli/text/log-format.ts';
import { proposedConfig, proposedEndpoint, withoutPassword } from '../../../../hub/cli/text/proposal.ts';
import { recordText } from '../../../../hub/cli/text/record-text.ts';
import { progressText } from '../../../../hub/cli/text/status-text.ts';
import { grouped, shortened, textTable } from '../../../../hub/cli/text/text-table.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from '../../../../contracts/units.ts';
import { TABLE } from '../../api/scripted-service.ts';

describe('units', () => {
  it.each([['0', null], ['1', null], ['0B', 0], ['1.5MiB', 1_572_864], ['200GB', 200e9], ['4 kB', 4000], ['1kib', null], ['-1MB', null], ['1e3B', null], ['99999999TiB', null], ['1 MB ', null]])(
    'size %s is %s', (text, bytes) => expect(parseSize(text)).toBe(bytes),
  );
  it.each([['500ms', 500], ['1.5s', 1500], ['7d', 604_800_000], ['10 m', 600_000], ['2h', 7_200_000], ['5', null], ['5w', null], ['', null]])(
    'duration %s is %s', (text, ms) => expect(parseDuration(text)).toBe(ms),
  );
  it('numbers are bytes or milliseconds', () => {
    expect(parseSize(7)).toBe(7);
    expect(parseDuration(1.5)).toBeNull();
    expect(parseSize(-1)).toBeNull();
  });
  it('are printed for people', () => {
    expect([0, 1023, 1024, 1.5 * 2 ** 30, 2 ** 50].map(formatSize)).toEqual(['0 B', '1023 B', '1.0 KiB', '1.5 GiB', '1024 TiB']);
    expect([0, 9_940, 12_000, 59_600, 200_000, 18_600_000, 183_600_000].map(formatDuration)).toEqual(['0.0 s', '9.9 s', '12 s', '1 m 0 s', '3 m 20 s', '5 h 10 m', '2 d 3 h']);
  });
});

describe('text for people', () => {
  it('is aligned, without blanks at the ends', () => {
    expect(textTable(['A', 'B>', 'C'], [['x', '1', ''], ['yyy', '22', 'z']])).toEqual(['A     B  C', 'x     1', 'yyy  22  z']);
  });

  it('groups digits', () => {
    expect([0, 999, 1000, 1_234_567.4].map(grouped)).toEqual(['0', '999', '1,000', '1,234,567']);
  });

  it('never moves the cursor and never gets longer than asked for', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.integer({ min: 1, max: 30 }), (text, longest) => {
        const short = shortened(text, longest);
        expect(short).not.toMatch(/\p{Cc}/u);
        expect(Array.from(short).length).toBeLessThanOrEqual(longest);
      }),
    );
    expect(shortened('a\nb\u001b[2J', 99)).toBe('a\\nb\\x1b[2J');
  });

  it('shows log lines', () => {
    expect(prettyLine('{"level":"warn","time":"2026-11-21T11:02:03.456Z","event":"sink.retrying","sink":"the replica","attempt":2,"error":{"message":"gone","stack":"..."}}')).toBe(
      '11:02:03 warn  sink.retrying sink="the replica" attempt=2 error=gone',
    );
    expect(prettyLine('no json')).toBe('no json');
    expect(prettyLine('{"level":"info","event":"e","x":{"a":1}}')).toBe('info  e x="{\\"a\\":1}"');
  });

  it('shows how far a copy is, and never more than all', () => {
    const copy = { rows: 300, estimatedRows: 200, etaSeconds: null, waitingFor: '' };
    expect(progressText({ ...TABLE, copy })).toBe('████████████████████ 100%, 300 of about 200 rows');
    expect(progressText({ ...TABLE, copy: { ...copy, estimatedRows: 0 } })).toBe('░░░░░░░░░░░░░░░░░░░░ 0%, 300 of about 0 rows');
    expect(progressText({ ...TABLE, copy: { ...copy, waitingFor: 'pid 7' } })).toBe('waits: pid 7');
    expect(progressText(TABLE)).toBe('');
  });
});

describe('what the hub did, in a changelog', () => {
  it.each([
    [{ type: 'copying', reason: 'first', copyState: '{"mode":"ctid"}' }, 'a copy begins (first)'],
    [{ type: 'chunk', range: 'x', rows: 12 }, 'a part of the copy is complete, 12 rows'],
    [{ type: 'chunks-void', why: 'it was rewritten', copyState: '' }, 'the parts copied so far are void: it was rewritten'],
    [{ type: 'copied', rows: 40 }, 'the copy is complete, 40 rows: the table is consistent from here'],
    [{ type: 'stopped', code: 'ROW_TOO_LARGE', why: 'a row', consistentUntil: 9, recopy: true }, 'stopped, ROW_TOO_LARGE: a row; consistent until 9, copied again by itself'],
    [{ type: 'removed' }, 'the table has left the configuration'],
    [{ type: 'gap', why: 'the slot was lost' }, 'a gap, changes are not in the log: the slot was lost'],
  ])('%j is said as: %s', (control, text) => {
    expect(recordText({ offset: 7, op: 'h', flags: [], table: 'public.orders', tableId: 1, version: 1, transaction: null, control })).toEqual(['7  hub  public.orders', `    ${text}`]);
  });
});

describe('the configuration that init proposes', () => {
  const modules = [{ type: 'postgres' }, { type: 'redis' }];

  it('names things after the database', () => {
    expect(proposedEndpoint('postgres://u:p@h:5432/My-Shop 2?x=1', modules, 'source', [])).toMatchObject({ name: 'my-shop_2', type: 'postgres', variable: 'MY_SHOP_2_URL' });
    expect(proposedEndpoint('postgresql://h', modules, 'source', []).name).toBe('main');
    expect(proposedEndpoint('rediss://h', modules, 'sink', [{ name: 'cache' }])).toMatchObject({ name: 'cache2', type: 'redis', variable: 'CACHE2_URL' });
    expect(() => proposedEndpoint('mysql://h/d', modules, 'source', [])).toThrow(/postgres:\/\/, postgresql:\/\/, redis:\/\//);
    expect(() => proposedEndpoint('shop', modules, 'source', [])).toThrow(/has to begin with/);
  });

  it('never shows a password', () => {
    expect(withoutPassword('postgres://u:s3cret@h/d?sslmode=require')).toBe('postgres://u:PASSWORD@h/d?sslmode=require');
    expect(withoutPassword('postgres://u@h/d?user=x&password=s3cret')).toBe('postgres://u@h/d?user=x&password=PASSWORD');
    expect(withoutPassword('redis://:s3cret@h')).toBe('redis://:PASSWORD@h');
    expect(withoutPassword('postgres://h:5432/d')).toBe('postgres://h:5432/d');
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Za-z0-9%:@._~-]{6,20}$/), (password) => {
        expect(withoutPassword(`postgres://user:_${password}_@host:5432/db`)).toBe('postgres://user:PASSWORD@host:5432/db');
      }),
    );
  });

  it('is YAML that selects what can be captured, whatever the names', () => {
    const table = (namespace: string, name: string): TableSchema => ({
      tableId: 0, version: 0, sourceTableId: '1', namespace, name, columns: [], keyKind: 'none', key: [],
    });
    const source = proposedEndpoint('postgres://u:p@h/shop', modules, 'source', []);
    const text = proposedConfig(source, [], {
      part: 'source', name: 'shop', type: 'postgres',
      tables: [table('public', 'a'), table('public', 'odd "x".y'), table('we.ird', 'b')],
      findings: [{ severity: 'error', code: 'identity', what: 'has no identity', remedy: 'ALTER TABLE ...\nor another', table: 'public."odd ""x"".y"' }],
    });
    expect(parse(text)).toEqual({
      hub: { data: './data', http: '127.0.0.1:7400' },
      sources: { shop: { type: 'postgres', url: '${SHOP_URL}', tables: ['public.*', '"we.ird".*', '!public."odd ""x"".y"'] } },
      sinks: null,
    });
    expect(text).toContain('# has no identity: ALTER TABLE ...\\nor another\n');
    const uncommented = text.replaceAll(/^( *)# (?=( {2})?(replica|type|from|url|tables|on_error):)/gm, '$1');
    expect(parse(uncommented)).toMatchObject({ sinks: { replica: { type: 'postgres', from: 'shop', tables: ['public.*', '"we.ird".*'], on_error: 'stop' } } });
  });
});
