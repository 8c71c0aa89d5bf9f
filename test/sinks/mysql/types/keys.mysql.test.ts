/** Tables as `replicaShape` says, on real servers: every type as a key, defaults, and rows that are too wide. */
import { expect, test } from 'vitest';
import type { Column, TableSchema } from '../../../../contracts/schema.ts';
import type { LogicalType } from '../../../../contracts/types/logical-type.ts';
import { replicaShape, type ReplicaShape } from '../../../../sinks/mysql/types/replica-shape.ts';
import { quoteName } from '../../../../sinks/mysql/types/sql.ts';
import { type MysqlVersion, startMysql } from '../../../fixtures/mysql.ts';
import { POSTGRES_VALUES, text } from '../../relational/postgres-values.ts';
import { AcrossServer } from './replica.ts';

const MINUTE = 60_000;
const NO_KEY = /^(xml|point|polygon|circle|path|line|jsonpath|point\[\]|json)$/;

function schemaOf(columns: readonly (readonly [type: LogicalType, nativeType: string, constantDefault?: string])[], key: readonly number[]): TableSchema {
  return {
    tableId: 1, version: 1, sourceTableId: '1', namespace: 'shop', name: 'things', keyKind: key.length === 0 ? 'none' : 'primary', key,
    columns: columns.map(([type, nativeType, constantDefault = null], index): Column => ({
      number: index + 1, name: `c${index}`, type, nativeType, nullable: !key.includes(index), constantDefault, fill: null, generated: 'no', identity: 'no',
    })),
  };
}

function createSql(table: string, { columns, key }: ReplicaShape): string {
  const parts = key.parts.map(({ column, prefix }) => `${quoteName(column)}${prefix === null ? '' : `(${prefix})`}`).join(', ');
  const keys = key.kind === 'none' ? [] : [key.kind === 'primary' ? `PRIMARY KEY (${parts})` : `KEY (${parts})`];
  const lines = columns.map(({ name, sql, nullable, defaultSql }) => `${quoteName(name)} ${sql} ${nullable ? 'NULL' : 'NOT NULL'}${defaultSql === null ? '' : ` DEFAULT ${defaultSql}`}`);
  return `CREATE TABLE ${table} (${[...lines, ...keys].join(', ')}) ROW_FORMAT=DYNAMIC`;
}

test.each<MysqlVersion>(['mysql-8.0', 'mariadb-11.8'])('%s makes the tables, and tells keys apart by their bytes', async (version) => {
  await using running = await startMysql({ version });
  await using replica = await AcrossServer.open(running);
  let tables = 0;
  const make = async (schema: TableSchema, unfit: 'by-type' | 'text' = 'by-type'): Promise<string> => {
    const table = `k${++tables}`;
    await replica.query(createSql(table, replicaShape(schema, { server: replica.server, unfit: () => unfit })));
    return table;
  };
  for (const [nativeType, type] of POSTGRES_VALUES) {
    if (NO_KEY.test(nativeType)) continue;
    await make(schemaOf([[type, nativeType], [{ kind: 'int64' }, 'bigint'], [text(null), 'text']], [0, 1, 2]));
    if (type.kind === 'text' || type.kind === 'array') await make(schemaOf([[type, nativeType], [text(null), 'text']], [0, 1]), 'text');
  }
  const keyed = await make(schemaOf([[text(null), 'text']], [0]));
  await replica.query(`INSERT INTO ${keyed} VALUES ('a'), ('A'), ('a '), ('a  '), (''), (' '), ('ä'), ('a\u0308'), (REPEAT('x', 768))`);
  expect((await replica.query(`SELECT COUNT(*) FROM ${keyed}`))[0]?.map(String)).toEqual(['9']);
  await make(schemaOf(Array.from({ length: 60 }, () => [text(5_000), 'character varying(5000)']), [0]));
  const defaults = await make(schemaOf([
    [{ kind: 'int32' }, 'integer'], [{ kind: 'bool' }, 'boolean', 't'], [text(null), 'text', "it's \\ \u{1f600}"], [{ kind: 'bytes' }, 'bytea', '\\x00ff27'],
    [{ kind: 'timestamptz', digits: 6 }, 'timestamp with time zone', '2026-11-21 12:30:00.5+00'], [{ kind: 'bit', length: 3, varying: false }, 'bit(3)', '101'],
    [{ kind: 'json' }, 'json', '{"a": 1}'], [{ kind: 'float32' }, 'real', '0.1'], [text(9), 'character varying(9)', 'ü'], [{ kind: 'date' }, 'date', 'infinity'],
    [{ kind: 'enum', name: 'shop.mood', labels: ['a', "it's"] }, 'shop.mood', "it's"], [{ kind: 'decimal', precision: 9, scale: 2 }, 'numeric(9,2)', '-0.50'],
  ], [0]));
  await replica.query(`INSERT INTO ${defaults} (c0) VALUES (1)`);
  const [row] = await replica.query(`SELECT c1, c2, HEX(c3), c4, BIN(c5 + 0), c6, c7, c8, c9, c10, c11 FROM ${defaults}`);
  expect(row?.map((cell) => cell?.toString('utf8') ?? null)).toEqual(['1', "it's \\ \u{1f600}", '00FF27', '2026-11-21 12:30:00.500000', '101', '{"a": 1}', '0.1', 'ü', null, "it's", '-0.50']);
}, 3 * MINUTE);
