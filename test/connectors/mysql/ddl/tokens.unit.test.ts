import { describe, expect, test } from 'vitest';
import { type SqlContext, SQL_MODE } from '../../../../connectors/mysql/ddl/context.ts';
import { Tokenizer } from '../../../../connectors/mysql/ddl/tokens.ts';
import { MARIADB, MYSQL } from './contexts.ts';

function tokens(sql: string, context: SqlContext = MYSQL): string[] {
  const tokenizer = new Tokenizer(sql, context);
  const found: string[] = [];
  for (let token = tokenizer.next(); token.kind !== 'end'; token = tokenizer.next()) {
    found.push(token.kind === 'symbol' ? token.text : `${token.kind}:${token.text}`);
  }
  return found;
}

const ANSI = { ...MYSQL, sqlMode: SQL_MODE.ANSI_QUOTES };
const NO_ESCAPES = { ...MYSQL, sqlMode: SQL_MODE.NO_BACKSLASH_ESCAPES };

describe('names and words', () => {
  test.each<[string, string[]]>([
    ['select a_1$ from é', ['word:select', 'word:a_1$', 'word:from', 'word:é']],
    ['`a``b` `it\'s "` ``', ['name:a`b', 'name:it\'s "', 'name:']],
    ['2fa 1e5x 12 0xZZ 0b2 1e', ['word:2fa', 'word:1e5x', 'number:12', 'word:0xZZ', 'word:0b2', 'word:1e']],
    ['db.2 db.1e5 db.0x12 db . 2', ['word:db', '.', 'word:2', 'word:db', '.', 'word:1e5', 'word:db', '.', 'word:0x12', 'word:db', '.', 'number:2']],
    ['`db`.`t`.c', ['name:db', '.', 'name:t', '.', 'word:c']],
    ['a@`b` @@x', ['word:a', '@', 'name:b', '@', '@', 'word:x']],
    ['a\u00a0b', ['word:a\u00a0b']],
    ['\u{1f600}\u{1f601}', ['word:\u{1f600}\u{1f601}']],
  ])('%s', (sql, expected) => expect(tokens(sql)).toEqual(expected));

  test('double quotes are names under ANSI_QUOTES, and in Oracle\'s mode of MariaDB', () => {
    expect(tokens('"a""b\\"')).toEqual(['broken:"a""b\\"']);
    expect(tokens('"a""b\\"', ANSI)).toEqual(['name:a"b\\']);
    expect(tokens('"a"', { ...MARIADB, sqlMode: SQL_MODE.ORACLE })).toEqual(['name:a']);
    expect(tokens('"a"', { ...MYSQL, sqlMode: SQL_MODE.ORACLE })).toEqual(['string:a']);
  });
});

describe('literals', () => {
  test.each<[string, string[]]>([
    ["'it''s' 'a\"b' \"x'y\"\"z\"", ["string:it's", 'string:a"b', 'string:x\'y"z']],
    ["'\\n\\t\\0\\Z\\'\\\\\\q\\%\\_'", ["string:\n\t\0\x1a'\\q\\%\\_"]],
    ["x'4f' X'4F' x'4' 0x4F b'01' 0b01", ['hex:4f', 'hex:4F', 'hex:4', 'hex:4F', 'bits:01', 'bits:01']],
    ["N'a' n'b' n", ['national:N', 'string:a', 'national:n', 'string:b', 'word:n']],
    ["_utf8mb4'a' _latin1 x'61' _binary 0x61 _col _x . 'a'", ['introducer:utf8mb4', 'string:a', 'introducer:latin1', 'hex:61', 'introducer:binary', 'hex:61', 'word:_col', 'word:_x', '.', 'string:a']],
    ['1 1.5 .5 1. 1e10 1.5E-3 -2', ['number:1', 'number:1.5', 'number:.5', 'number:1.', 'number:1e10', 'number:1.5E-3', '-', 'number:2']],
    ['DEFAULT .5', ['word:DEFAULT', 'number:.5']],
    ['a<=>b:=c', ['word:a', '<', '=', '>', 'word:b', ':', '=', 'word:c']],
  ])('%s', (sql, expected) => expect(tokens(sql)).toEqual(expected));

  test('a backslash is one under NO_BACKSLASH_ESCAPES', () => {
    expect(tokens("'a\\' 'b\\n'", NO_ESCAPES)).toEqual(['string:a\\', 'string:b\\n']);
  });
});

describe('comments', () => {
  test.each<[string, string[]]>([
    ['a -- b\nc --d', ['word:a', 'word:c', '-', '-', 'word:d']],
    ['a --', ['word:a']],
    ['a # b `\nc', ['word:a', 'word:c']],
    ["a /* ' ` /* */ b", ['word:a', 'word:b']],
    ['/**/a/**/', ['word:a']],
    ['select /*+ HINT(t) */ a', ['word:select', 'word:a']],
    ['a */ b', ['word:a', '*', '/', 'word:b']],
    ['/*! a */ b', ['word:a', 'word:b']],
    ['/*!50701 a */ b', ['word:a', 'word:b']],
    ['/*!090704 a */ b', ['word:a', 'word:b']],
    ['/*!90705 a */ b', ['word:b']],
    ['/*!99999 a /* c */ d */ b', ['word:b']],
    ['/*!99999 /* c */ /* d */ e */ b', ['word:b']],
    ['/*!80000 a /* c */ d */ b', ['word:a', 'word:d', 'word:b']],
    ['/*M!100100 a */ b', ['word:b']],
  ])('%s', (sql, expected) => expect(tokens(sql)).toEqual(expected));

  test.each<[string, string[]]>([
    ['/*! a */ b', ['word:a', 'word:b']],
    ['/*!50701 a */ b', ['word:b']],
    ['/*!50699 a */ b', ['word:a', 'word:b']],
    ['/*!100100 a */ b', ['word:a', 'word:b']],
    ['/*!110807 a */ b', ['word:b']],
    ['/*M! a */ b', ['word:a', 'word:b']],
    ['/*M!50701 a */ b', ['word:a', 'word:b']],
    ['/*M!120000 a */ b', ['word:b']],
  ])('MariaDB: %s', (sql, expected) => expect(tokens(sql, MARIADB)).toEqual(expected));

  test.each(["'a", '`a', '"a', '/* a', '/*!99999 a /* b */ c', "'a\\", "'a\\'"])('what never ends is broken: %s', (sql) => {
    expect(tokens(`x ${sql}`)).toEqual(['word:x', expect.stringMatching(/^broken:/)]);
  });
});

test('long statements take time in proportion to their length', () => {
  const hostile = ['/*!99999 /* ', '/*', '/*!80000 ', "'", "''", '`', '``', '--', '-- \n', '(', '.', '_', '_a ', '0x', '1e', '\\', "'\\", '#\n', 'a.', '*/', '/*!99999 /* */ */'];
  for (const piece of hostile) {
    const started = performance.now();
    tokens(piece.repeat(Math.ceil(100_000 / piece.length)));
    expect(performance.now() - started, piece).toBeLessThan(2_000);
  }
});
