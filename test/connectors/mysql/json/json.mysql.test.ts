import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Connection } from 'mysql2/promise';
import { expect, test } from 'vitest';
import { JsonDecoder } from '../../../../connectors/mysql/values/json.ts';
import { startMysql } from '../../../fixtures/mysql.ts';
import { walkBinlog } from '../values/binlog-walk.ts';
import { connect, disposable, rowsOf } from '../values/capture.ts';
import { cellOf } from '../values/cells.ts';
import { jsonDouble } from '../../../../contracts/types/mysql-json-number.ts';

const MINUTE = 60_000;

const DOCUMENTS: readonly (readonly [document: string, ...changes: string[]])[] = [
  [
    `'{"a": 1, "b": {"c": [1,2,3], "d": "${'q'.repeat(100)}"}}'`,
    "json_set(a,'$.a',2)", "json_set(a,'$.b.c[1]','x')", "json_remove(a,'$.b.c[0]')", "json_set(a,'$.new',json_array(1,2))", "json_replace(a,'$.b.d','s')",
    "json_set(json_remove(a,'$.a'),'$.b.c[0]',cast(1.50 as json))", `json_set(a,'$.b."we ird\\\\"k"',1)`, `json_set(a,'$.b."we ird\\\\"k"',2)`, "json_set(a,'$.b.c[100]',9)",
    `json_set(a,'$."ü"',cast('2026-01-01' as date))`, `json_remove(a,'$."ü"')`, "json_set(a,'$.a','a','$.b.c[0]',2,'$.z',3)", "json_set(a,'$.\"\"',null)", "json_set(a,'$.\"1a\"',json_object())",
  ],
  [
    `json_array(${Array.from({ length: 50 }, (_, index) => index).join()}, repeat('k',500))`,
    "json_set(a,'$[3]','abc')", "json_remove(a,'$[0]','$[0]')", "json_array_insert(a,'$[0]',5)", "json_array_append(a,'$',6)", "json_set(a,'$[last]',null)", "json_set(a,'$[1000]','end')",
    "json_set(a,'$[5]',json_object('x',1))", "json_set(a,'$[5].y',json_object('z',json_array()))", "json_set(a,'$[5].y.z[0]',1)", "json_set(a,'$[last-1]','before')", "json_array_insert(a,'$[5].y.z[0]',0)",
  ],
  [
    // Large containers, and values that no longer fit where they were.
    `json_object(${Array.from({ length: 3000 }, (_, index) => `'key${index}',repeat('v',30)`).join()})`,
    "json_set(a,'$.key5','short')", "json_set(a,'$.key5',repeat('l',2000))", "json_remove(a,'$.key0','$.key2999')", "json_set(a,'$.key7',json_array(70000,-70000,1.5,true))", "json_set(a,'$.key7[1]',1)",
  ],
];

interface Expected {
  readonly id: number;
  readonly text: string;
}

async function change(connection: Connection): Promise<Expected[]> {
  await connection.query("CREATE DATABASE j; USE j; CREATE TABLE docs (id int PRIMARY KEY, a json); SET binlog_row_value_options = 'PARTIAL_JSON'");
  const expected: Expected[] = [];
  for (const [index, [document, ...changes]] of DOCUMENTS.entries()) {
    const id = index + 1;
    for (const sql of [`INSERT INTO docs VALUES (${id}, ${document})`, ...changes.map((one) => `UPDATE docs SET a = ${one} WHERE id = ${id}`)]) {
      await connection.query(sql);
      const [row] = await rowsOf(connection, `SELECT a FROM docs WHERE id = ${id}`);
      expected.push({ id, text: row?.[0]?.toString() ?? '' });
    }
  }
  return expected;
}

test.each(['mysql-8.0', 'mysql-9'] as const)('diffs of %s make the document that the server has', async (version) => {
  await using server = await startMysql({ version });
  await using session = disposable(await connect(server));
  const expected = await change(session.connection);
  const [log] = await rowsOf(session.connection, 'SHOW BINARY LOGS').then((logs) => logs.slice(-1));
  await session.connection.query('FLUSH BINARY LOGS');
  const decoder = new JsonDecoder();
  let before: Buffer | null = null;
  let diffs = 0;
  const seen: string[] = [];
  for (const { table, column, image, bytes, isDiff } of walkBinlog(await readFile(join(server.dataDir, log?.[0]?.toString() ?? '')))) {
    if (table.name !== 'docs' || column !== 1 || bytes === null) continue;
    if (image === 'before') {
      before = bytes;
      continue;
    }
    const old: Buffer | null = before;
    if (isDiff && old !== null) {
      diffs++;
      seen.push(cellOf((out) => decoder.patch(bytes, 4, bytes.length, old, 4, old.length, out)));
    } else seen.push(cellOf((out) => decoder.decode(bytes, 0, out)));
  }
  expect(seen).toEqual(expected.map(({ text }) => text));
  expect(diffs).toBeGreaterThan(20);
}, 2 * MINUTE);

test('doubles in JSON have the digits of the server', async () => {
  await using server = await startMysql({ version: 'mysql-9' });
  await using session = disposable(await connect(server));
  const words = new DataView(new ArrayBuffer(8));
  const doubles = Array.from({ length: 4_000 }, (_, index) => {
    // Spread over all exponents, short and long ones.
    words.setUint32(0, Math.imul(index, 0x9e3779b1));
    words.setUint32(4, index % 3 === 0 ? 0 : Math.imul(index, 0x85ebca6b));
    const value = words.getFloat64(0);
    return Number.isFinite(value) ? value : index / 100;
  });
  const rows = await rowsOf(session.connection, `SELECT json_array(${doubles.map((value) => (Object.is(value, -0) ? '-0e0' : value.toExponential())).join()})`);
  expect(rows[0]?.[0]?.toString()).toBe(`[${doubles.map(jsonDouble).join(', ')}]`);
}, MINUTE);
