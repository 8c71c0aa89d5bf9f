import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sinkError, sqlState } from '../../../sinks/postgres/errors.ts';
import { resolveOptions } from '../../../sinks/postgres/options.ts';
import { PipelineFailure, rowsOf, StatementCache } from '../../../sinks/postgres/pipeline.ts';
import { ident, literal } from '../../../sinks/postgres/sql.ts';
import { compositeChanges, creatableTypes, enumChanges } from '../../../sinks/postgres/type-sql.ts';
import { bindMessage, copyDataMessages, parseMessage, textParameter } from '../../../sinks/postgres/wire.ts';

test('identifiers and literals are quoted', () => {
  expect(ident('a "b"')).toBe('"a ""b"""');
  expect(literal("it's")).toBe("'it''s'");
  expect(literal("\\'")).toBe("E'\\\\'''");
});

test('messages carry their own length', () => {
  const parse = parseMessage('näme', 'SELECT $1');
  expect(parse.readUInt32BE(1)).toBe(parse.length - 1);
  const bind = Buffer.concat(bindMessage('s', [textParameter('wört'), textParameter(null), { format: 'binary', pieces: [Buffer.from([1]), Buffer.from([2, 3])] }]));
  expect(bind.readUInt32BE(1)).toBe(bind.length - 1);
  expect(bind.subarray(5).toString('hex')).toBe(
    ['00', '7300', '0003', '0000', '0000', '0001', '0003', '00000005', Buffer.from('wört').toString('hex'), 'ffffffff', '00000003', '010203', '0000'].join(''),
  );
});

test('data of a COPY is sent in pieces, none of it twice', () => {
  const data = Buffer.alloc(600_000, 'ab');
  const messages = copyDataMessages(data);
  expect(Buffer.concat(messages.filter((_, index) => index % 2 === 1))).toEqual(data);
  for (let n = 0; n < messages.length; n += 2) expect(Buffer.from(messages[n] ?? []).readUInt32BE(1)).toBe(4 + (messages[n + 1]?.length ?? 0));
});

test.each([['INSERT 0 5', 5], ['UPDATE 7', 7], ['COPY 12', 12], ['BEGIN', 0], ['DROP TABLE', 0]])('%s counts %d rows', (tag, rows) => {
  expect(rowsOf(tag)).toBe(rows);
});

test('statements are prepared once, and forgotten when their pipeline failed before they stood', () => {
  const cache = new StatementCache();
  const [first, second, third] = [{}, {}, {}];
  const prepares = (sql: string, by: object, index: number): boolean => cache.use(sql, by, index).messages.length > 0;
  expect(prepares('a', first, 0)).toBe(true);
  expect(prepares('a', first, 1)).toBe(false);
  prepares('b', first, 2);
  expect(prepares('a', second, 0), 'another pipeline, which cannot know whether the first will come to it').toBe(true);
  cache.settle(first, 2);
  cache.settle(second, null);
  expect(prepares('a', third, 0), 'stands').toBe(false);
  expect(prepares('b', third, 1), 'its pipeline failed there').toBe(true);
});

test('the statement unused for longest is closed when there are too many', () => {
  const cache = new StatementCache();
  const pipeline = {};
  for (let n = 0; n < 300; n++) cache.use(`s${n}`, pipeline, n);
  cache.use('s0', pipeline, 300);
  const { messages } = cache.use('one too many', pipeline, 301);
  expect(messages[0]?.toString('latin1')).toContain('St1\0');
  expect(cache.use('s0', pipeline, 302).messages).toHaveLength(0);
  expect(cache.size).toBe(300);
});

/** An error as the driver gives the server's. */
function serverError(code: string, detail?: string): Error {
  return Object.assign(new Error('text'), { code, severity: 'ERROR', ...(detail === undefined ? {} : { detail }) });
}

test.each([
  ['23505', 'SINK_DATA', 'never'], ['22P02', 'SINK_DATA', 'never'], ['54000', 'SINK_DATA', 'never'], ['23502', 'SINK_DATA', 'never'],
  ['40001', 'REPLICA_BUSY', 'auto'], ['40P01', 'REPLICA_BUSY', 'auto'], ['55P03', 'REPLICA_BUSY', 'auto'], ['57014', 'REPLICA_BUSY', 'auto'],
  ['57P01', 'SINK_UNREACHABLE', 'auto'], ['08006', 'SINK_UNREACHABLE', 'auto'], ['25006', 'SINK_UNREACHABLE', 'auto'],
  ['53100', 'REPLICA_FULL', 'auto'], ['42501', 'REPLICA_DENIED', 'operator'], ['28P01', 'REPLICA_DENIED', 'operator'], ['3D000', 'REPLICA_DENIED', 'operator'],
  ['42703', 'REPLICA_SHAPE', 'operator'], ['42704', 'REPLICA_TYPE', 'operator'], ['XX000', 'REPLICA_STATEMENT', 'operator'],
] as const)('SQLSTATE %s is %s', (state, code, retry) => {
  const failure = new PipelineFailure(3, serverError(state, 'Key (email)=(a@b.c) already exists.'));
  expect(sqlState(failure)).toBe(state);
  const error = sinkError(failure, { table: 't' });
  expect(error).toMatchObject({ code, retry, where: { table: 't' } });
  expect(error.message, 'values of rows stay out of messages').not.toContain('a@b.c');
});

test('errors of the connection, and what is none', () => {
  expect(sinkError(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })).code).toBe('SINK_UNREACHABLE');
  expect(sinkError(new Error('Connection terminated unexpectedly')).code).toBe('SINK_UNREACHABLE');
  expect(sinkError(new TypeError('x is not a function')).code).toBe('INTERNAL');
  expect(sinkError(serverError('2BP01', 'view v depends on it')).message).toContain('view v');
});

/** What the server does with the statements of `enumChanges`. */
function performLabels(have: readonly string[], statements: readonly string[]): string[] {
  const labels = [...have];
  for (const sql of statements) {
    const renamed = /RENAME VALUE '(.*)' TO '(.*)'/.exec(sql);
    const added = /ADD VALUE IF NOT EXISTS '(.*?)'(?: (BEFORE|AFTER) '(.*)')?$/.exec(sql);
    if (renamed !== null) labels[labels.indexOf(renamed[1] ?? '')] = renamed[2] ?? '';
    else if (added !== null) {
      const neighbour = labels.indexOf(added[3] ?? '');
      expect(added[2] === undefined || neighbour >= 0).toBe(true);
      labels.splice(added[2] === undefined ? labels.length : added[2] === 'AFTER' ? neighbour + 1 : neighbour, 0, added[1] ?? '');
    }
  }
  return labels;
}

test('labels that are added stand in the order of the source', () => {
  const labels = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), { minLength: 1 });
  fc.assert(
    fc.property(labels, fc.uniqueArray(fc.nat(5)), (want, dropped) => {
      const have = want.filter((_, index) => !dropped.includes(index));
      expect(performLabels(have, enumChanges('t', have, want))).toEqual(want);
    }),
  );
  expect(performLabels(['a', 'b'], enumChanges('t', ['a', 'b'], ['a', 'x']))).toEqual(['a', 'x']);
  expect(performLabels(['a', 'gone'], enumChanges('t', ['a', 'gone'], ['a', 'b', 'c'])), 'a label that rows may still have stays').toEqual(['a', 'b', 'c', 'gone']);
});

test('fields of composite types: added at the end, dropped, renamed; another order cannot be reached', () => {
  const fields = (...names: readonly string[]) => names.map((name) => ({ name, sql: 'integer' }));
  expect(compositeChanges('t', ['a'], fields('a'))).toEqual([]);
  expect(compositeChanges('t', ['a'], fields('a', 'b'))).toEqual(['ALTER TYPE t ADD ATTRIBUTE "b" integer CASCADE']);
  expect(compositeChanges('t', ['a', 'b', 'c'], fields('a', 'c'))).toEqual(['ALTER TYPE t DROP ATTRIBUTE "b" CASCADE']);
  expect(compositeChanges('t', ['a', 'b'], fields('a', 'x'))).toEqual(['ALTER TYPE t RENAME ATTRIBUTE "b" TO "x" CASCADE']);
  expect(compositeChanges('t', ['a', 'b'], fields('b', 'a'))).toBeNull();
  expect(compositeChanges('t', ['a'], fields('x', 'a'))).toBeNull();
});

test('types are created innermost first, built-in ones not at all', () => {
  const mood = { kind: 'enum', name: 's.mood', labels: ["it's"] } as const;
  const types = creatableTypes({ kind: 'array', element: { kind: 'composite', name: 's.pair', fields: [{ name: 'a', type: { kind: 'domain', name: 's.d', base: mood } }, { name: 'r', type: { kind: 'range', name: 'int4range', element: { kind: 'int32' } } }] } });
  expect(types.map(({ create }) => create)).toEqual([
    `CREATE TYPE "s"."mood" AS ENUM ('it''s')`,
    'CREATE DOMAIN "s"."d" AS "s"."mood"',
    'CREATE TYPE "s"."pair" AS ("a" "s"."d", "r" "pg_catalog"."int4range")',
  ]);
});

test('options: defaults, and what is refused', () => {
  expect(resolveOptions('replica', { url: 'postgres://x' })).toEqual({ url: 'postgres://x', passwordFile: null, synchronousCommit: 'on', lockTimeoutMs: 10_000 });
  expect(resolveOptions('replica', { url: 'u', synchronous_commit: 'off', lock_timeout: '2s' })).toMatchObject({ synchronousCommit: 'off', lockTimeoutMs: 2_000 });
  for (const options of [{}, { url: 'u', synchronous_commit: 'maybe' }, { url: 'u', lock_timeout: 'soon' }]) {
    expect(() => resolveOptions('replica', options)).toThrow(expect.objectContaining({ code: 'CONFIG_VALUE', where: { sink: 'replica' } }));
  }
});
