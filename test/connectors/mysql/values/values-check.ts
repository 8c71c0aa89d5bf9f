import { expect } from 'vitest';
import { typeOfWireColumn } from '../../../../connectors/mysql/values/wire-column.ts';
import { type MysqlVersion, startMysql } from '../../../fixtures/mysql.ts';
import { type CapturedColumn, captureValues } from './capture.ts';
import { copied, decoded } from './cells.ts';

/** Types whose cell is what the server shows, without a change. */
const SHOWN = /^(char|varchar|tinytext|text|mediumtext|longtext|enum|set|json|uuid|inet4|inet6|date)$/;

/** Each edge value of each type has the same cell in the binary log, in a copy and, where it is text, at the server. @throws where not */
export async function checkValues(version: MysqlVersion): Promise<void> {
  await using server = await startMysql({ version });
  const columns = await captureValues(server);
  const wrong = columns.flatMap((column) => column.values.flatMap((value) => differences(column, value)));
  expect(wrong).toEqual([]);
  expect(columns.flatMap(({ values }) => values).length).toBeGreaterThan(700);
}

function differences({ type, wire }: CapturedColumn, { sql, binlog, copied: selected, shown }: CapturedColumn['values'][number]): string[] {
  if (binlog === null || selected === null || shown === null) return binlog === selected ? [] : [`${type.text} ${sql}: null on one side only`];
  const what = `${type.text.slice(0, 60)} ${sql.slice(0, 60)}`;
  const streamed = decoded(wire, type, binlog);
  const found: string[] = [];
  if (copied(type, selected) !== streamed) found.push(`${what}: ${streamed} in the log, ${copied(type, selected)} in a copy`);
  if (SHOWN.test(type.name) && streamed !== shown.toString()) found.push(`${what}: ${streamed} in the log, ${shown.toString()} at the server`);
  const expected = canonicalOf(type.name, shown.toString('latin1'));
  if (expected !== null && expected !== streamed) found.push(`${what}: ${streamed} in the log, ${expected} expected`);
  // What full metadata says is enough wherever the types of the table map are the whole truth.
  const described = typeOfWireColumn(wire);
  const isWhole = described !== null && !/^(uuid|inet4|inet6|vector)$/.test(type.name) && !type.oldTemporal;
  if (isWhole && decoded(wire, described, binlog) !== streamed) found.push(`${what}: ${decoded(wire, described, binlog)} by the table map alone`);
  return found;
}

/** The canonical form of what a client sees, by other means than the product's. */
function canonicalOf(name: string, shown: string): string | null {
  switch (name) {
    case 'tinyint':
    case 'smallint':
    case 'mediumint':
    case 'int':
    case 'bigint':
    case 'year':
      return BigInt(shown).toString();
    case 'decimal':
      return shown.replace(/^(-?)0+(?=\d)/, '$1');
    case 'datetime':
    case 'time':
      return shown.replace(/\.?0+$/, (zeros) => (shown.includes('.') ? '' : zeros));
    case 'timestamp':
      return `${shown.replace(/\.?0+$/, (zeros) => (shown.includes('.') ? '' : zeros))}+00`;
    default:
      return null;
  }
}
