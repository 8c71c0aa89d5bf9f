/** Edge values of MySQL and MariaDB at each other's replicas, and at their own. */
import { expect } from 'vitest';
import { mysqlLogicalType } from '../../../../contracts/types/mysql-types.ts';
import { captureValues } from '../../../connectors/mysql/values/capture.ts';
import { copied } from '../../../connectors/mysql/values/cells.ts';
import { type MysqlServer, type MysqlVersion, startMysql } from '../../../fixtures/mysql.ts';
import { type AcrossColumn, AcrossServer, type CellOf } from './replica.ts';

/** MySQL's json can have decimals, and no text brings them. */
export const JSON_DECIMALS = ['json 1.50', 'json [123456789012345678901234567890.123, -0.5, 0.00, 1.10]'];

/** MariaDB 11.5 and newer have them, and nobody else. */
export const LATE_TIMESTAMPS = [0, 1, 2, 3, 4, 5, 6].flatMap((digits) => ['2100-03-01 00:00:00+00', '2106-02-07 06:28:15+00'].map((time) => `timestamp(${digits}) ${time}`));

/** Columns as the log of this source has them. */
export async function loggedColumns(source: MysqlServer): Promise<AcrossColumn[]> {
  return (await captureValues(source)).map(({ type, values }) => ({
    dialect: 'mysql',
    nativeType: type.text,
    type: mysqlLogicalType(type, 'shop.typed.v'),
    values: values.flatMap(({ copied: bytes }) => (bytes === null ? [] : [cell(copied(type, bytes), mysqlLogicalType(type, '').kind === 'bytes')])),
  }));
}

function cell(text: string, isBytes: boolean): CellOf {
  return isBytes ? Buffer.from(text.slice(2), 'hex') : text;
}

/** @throws where a value does not come back as it was, or another value is refused than `refusals` names */
export async function checkFromMysql(from: MysqlVersion, to: readonly MysqlVersion[], refusals: (to: MysqlVersion) => readonly string[]): Promise<void> {
  await using source = await startMysql({ version: from });
  const columns = await loggedColumns(source);
  for (const version of to) {
    await using running = version === from ? null : await startMysql({ version });
    await using replica = await AcrossServer.open(running ?? source);
    const wrong: string[] = [];
    const refused: string[] = [];
    for (const column of columns) {
      const found = await replica.bring(column);
      wrong.push(...found.wrong);
      refused.push(...found.refused.map((value) => `${found.column.sql} ${String(value)}`));
      if (found.refused.length > 0) expect(found.column.beyond, column.nativeType).not.toBeNull();
      if (found.refused.length === 0) continue;
      const asText = await replica.bring(column, 'text');
      wrong.push(...asText.wrong, ...asText.refused.map((value) => `${column.nativeType} as text refuses ${String(value)}`));
    }
    expect(wrong, `${from} at ${version}`).toEqual([]);
    expect([...new Set(refused)].toSorted(), `${from} at ${version}`).toEqual([...refusals(version)].toSorted());
  }
}
