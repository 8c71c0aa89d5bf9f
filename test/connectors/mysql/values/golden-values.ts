/** Recorded values: made by generate-golden.ts from a real server, read by tests that have none. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { WireColumn } from '../../../../connectors/mysql/values/wire-column.ts';
import { mysqlType, type MysqlType } from '../../../../contracts/types/mysql-types.ts';
import type { CapturedColumn } from './capture.ts';

export interface GoldenColumn {
  readonly type: MysqlType;
  readonly wire: WireColumn;
  readonly values: readonly { readonly binlog: Buffer; readonly copied: Buffer; readonly cell: string }[];
}

interface Stored {
  readonly columnType: string;
  readonly charset: string | null;
  readonly collation: string | null;
  readonly wire: Omit<WireColumn, 'labels'> & { readonly labels: readonly string[] | null };
  /** In hexadecimal: of the binary log, of the copy; the cell. */
  readonly values: readonly (readonly [binlog: string, copied: string, cell: string])[];
}

export const GOLDEN_VERSIONS = ['mysql-9', 'mariadb-11.8'] as const;

export function goldenFile(version: string): string {
  return join(import.meta.dirname, `golden-${version}.json.gz`);
}

/** @param cellOf what each value's cell is to be */
export function packGolden(columns: readonly CapturedColumn[], cellOf: (column: CapturedColumn, binlog: Buffer) => string): Buffer {
  const stored = columns.map((column): Stored => {
    const { type, wire, values } = column;
    return {
      columnType: type.charset === null ? type.text : type.text.slice(0, type.text.indexOf(' character set ')),
      charset: type.charset,
      collation: type.collation,
      wire: { ...wire, labels: wire.labels?.map((label) => Buffer.from(label).toString('hex')) ?? null },
      values: values.flatMap(({ binlog, copied }) => (binlog === null || copied === null ? [] : [[binlog.toString('hex'), copied.toString('hex'), cellOf(column, binlog)] as const])),
    };
  });
  return gzipSync(JSON.stringify(stored), { level: 9 });
}

export function goldenValues(version: string): GoldenColumn[] {
  const stored: unknown = JSON.parse(gunzipSync(readFileSync(goldenFile(version))).toString());
  if (!isStored(stored)) throw new Error(`${goldenFile(version)} is not a list`);
  return stored.map(({ columnType, charset, collation, wire, values }) => ({
    type: mysqlType({ columnType, charset, collation }),
    wire: { ...wire, labels: wire.labels?.map((label) => Buffer.from(label, 'hex')) ?? null },
    values: values.map(([binlog, copied, cell]) => ({ binlog: Buffer.from(binlog, 'hex'), copied: Buffer.from(copied, 'hex'), cell })),
  }));
}


function isStored(value: unknown): value is readonly Stored[] {
  return Array.isArray(value);
}
