import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Column, Dialect } from '../../../contracts/schema.ts';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';
import { mysqlLogicalType, mysqlType } from '../../../contracts/types/mysql-types.ts';
import { columnType } from '../../../sinks/mysql/types/column-type.ts';
import type { ReplicaServer } from '../../../sinks/mysql/types/replica-server.ts';
import { fittedColumn, NO_EXTENSIONS } from '../../../sinks/postgres/mysql-columns.ts';
import { MARIADB, MYSQL } from '../mysql/types/servers.ts';

const INT: LogicalType = { kind: 'int32' };
const decimal = (precision: number | null, scale: number | null): LogicalType => ({ kind: 'decimal', precision, scale });
const text = (length: number | null, fixed = false): LogicalType => ({ kind: 'text', length, fixed });
const bit = (length: number | null, varying: boolean): LogicalType => ({ kind: 'bit', length, varying });

/** Columns of Postgres as its log has them. */
const POSTGRES: readonly (readonly [nativeType: string, type: LogicalType])[] = [
  ['boolean', { kind: 'bool' }], ['smallint', { kind: 'int16' }], ['integer', INT], ['bigint', { kind: 'int64' }], ['xid8', { kind: 'uint64' }],
  ['numeric(12,2)', decimal(12, 2)], ['numeric(5,-2)', decimal(5, -2)], ['numeric(3,5)', decimal(3, 5)], ['numeric(66,0)', decimal(66, 0)], ['numeric', decimal(null, null)],
  ['real', { kind: 'float32' }], ['double precision', { kind: 'float64' }], ['money', { kind: 'money' }],
  ['text', text(null)], ['character varying(20)', text(20)], ['character varying(20000)', text(20_000)], ['character(5)', text(5, true)], ['bytea', { kind: 'bytes' }],
  ['bit(9)', bit(9, false)], ['bit(65)', bit(65, false)], ['bit varying(9)', bit(9, true)], ['uuid', { kind: 'uuid' }],
  ['date', { kind: 'date' }], ['time(3) without time zone', { kind: 'time', digits: 3 }], ['time with time zone', { kind: 'timetz', digits: 6 }],
  ['timestamp(3) without time zone', { kind: 'timestamp', digits: 3 }], ['timestamp with time zone', { kind: 'timestamptz', digits: 6 }], ['interval', { kind: 'interval', digits: 6 }],
  ['json', { kind: 'json' }], ['xml', { kind: 'xml' }], ['shop.mood', { kind: 'enum', name: 'shop.mood', labels: ['sad', 'ok'] }],
  ['integer[]', { kind: 'array', element: INT }], ['int4range', { kind: 'range', name: 'int4range', element: INT }], ['int4multirange', { kind: 'multirange', name: 'int4multirange', element: INT }],
  ['shop.pair', { kind: 'composite', name: 'shop.pair', fields: [{ name: 'a', type: INT }] }], ['shop.positive', { kind: 'domain', name: 'shop.positive', base: decimal(6, 2) }],
  ['inet', { kind: 'inet' }], ['cidr', { kind: 'cidr' }], ['macaddr', { kind: 'macaddr' }], ['hstore', { kind: 'hstore' }], ['ltree', { kind: 'ltree' }], ['tsvector', { kind: 'tsvector' }],
  ['geometry(Point,4326)', { kind: 'geometry' }], ['vector(3)', { kind: 'vector', dimensions: 3 }], ['vector', { kind: 'vector', dimensions: null }], ['point', { kind: 'unknown', nativeType: 'point' }],
];

/** Columns of MySQL and MariaDB, with charset and collation where they have characters. */
const FROM_MYSQL: readonly string[] = [
  'tinyint(1)', 'tinyint unsigned', 'smallint', 'smallint unsigned', 'mediumint', 'int', 'int unsigned', 'bigint', 'bigint unsigned', 'year', 'decimal(65,30)', 'float', 'double',
  'bit(9)', 'date', 'datetime(3)', 'timestamp(3)', 'time(3)', 'char(10)', 'varchar(20)', 'text', 'longtext', 'binary(4)', 'varbinary(10)', 'blob', "enum('a','b')", "set('a','b')", 'json',
  'geometry', 'point', 'vector(3)', 'uuid', 'inet4', 'inet6',
];

const column = (nativeType: string, type: LogicalType): Column => ({ number: 1, name: 'v', type, nativeType, nullable: true, constantDefault: null, fill: null, generated: 'no', identity: 'no' });

function described(type: LogicalType): string {
  if (type.kind === 'decimal') return type.precision === null ? 'decimal' : `decimal(${type.precision},${type.scale})`;
  if (type.kind === 'text' || type.kind === 'bit') return `${type.kind}${type.length === null ? '' : `(${type.length})`}`;
  if (type.kind === 'array') return `array of ${described(type.element)}`;
  if (type.kind === 'domain') return `domain over ${described(type.base)}`;
  if (type.kind === 'vector' && type.dimensions !== null) return `vector(${type.dimensions})`;
  return 'digits' in type ? `${type.kind}(${type.digits})` : type.kind;
}

/** Charset and collation are told once, above the table. */
function bare(sql: string): string {
  return sql.replace(/ character set \w+ collate \w+$/, '').replaceAll('|', '\\|');
}

function cells(source: Column, dialect: Dialect, server: ReplicaServer): { sql: string; beyond: string | null } {
  const { sql, beyond, isStandIn } = columnType(source, dialect, 'by-type', server);
  return { sql: `\`${bare(sql)}\`${isStandIn ? ' *' : ''}`, beyond };
}

function beyondText(parts: readonly (readonly [place: string, beyond: string | null])[]): string {
  const found = parts.filter(([, beyond]) => beyond !== null);
  const [first] = found;
  if (first !== undefined && found.length === parts.length && found.every(([, beyond]) => beyond === first[1])) return first[1] ?? '';
  return found.map(([place, beyond]) => `${place}: ${beyond}`).join('; ');
}

function line(...columns: readonly string[]): string {
  return `| ${columns.join(' | ')} |`.replaceAll('|  |', '| |');
}

function postgresLine([nativeType, type]: (typeof POSTGRES)[number]): string {
  const mysql = cells(column(nativeType, type), 'postgres', MYSQL);
  const mariadb = cells(column(nativeType, type), 'postgres', MARIADB);
  return line(`\`${nativeType}\``, described(type), mysql.sql, mariadb.sql === mysql.sql ? 'the same' : mariadb.sql, beyondText([['MySQL', mysql.beyond], ['MariaDB', mariadb.beyond]]));
}

function mysqlLine(columnText: string): string {
  const hasText = /^(char|varchar|\w*text|enum|set)/.test(columnText);
  const native = mysqlType({ columnType: columnText, charset: hasText ? 'utf8mb4' : null, collation: hasText ? 'utf8mb4_general_ci' : null });
  const source = column(native.text, mysqlLogicalType(native, 'shop.t.v'));
  const postgres = fittedColumn(source, 'by-type', { geometry: 'geometry', vector: 'vector' });
  const without = fittedColumn(source, 'by-type', NO_EXTENSIONS);
  const mysql = cells(source, 'mysql', MYSQL);
  const mariadb = cells(source, 'mysql', MARIADB);
  const target = `\`${postgres.column.nativeType}\`${without.isStandIn ? `, without its extension \`${without.column.nativeType}\` *` : ''}`;
  const limits = beyondText([['Postgres', postgres.beyond], ['MySQL', mysql.beyond], ['MariaDB', mariadb.beyond]]);
  return line(`\`${columnText}\``, described(source.type), target, mysql.sql, mariadb.sql === mysql.sql ? 'the same' : mariadb.sql, limits);
}

describe('docs/types-across.md', () => {
  const page = readFileSync(new URL('../../../docs/types-across.md', import.meta.url), 'utf8');

  test('has each type of Postgres as a MySQL replica has it', () => {
    const found = page.split('\n').filter((text) => /^\| `[^`]+` \| [^|]+ \| [^|]+ \| [^|]+ \|[^|]*\|$/.test(text));
    expect(found).toEqual(POSTGRES.map(postgresLine));
  });

  test('has each type of MySQL and MariaDB as the replicas have it', () => {
    const found = page.split('\n').filter((text) => /^\| `[^`]+` \| [^|]+ \| [^|]+ \| [^|]+ \| [^|]+ \|[^|]*\|$/.test(text));
    expect(found).toEqual(FROM_MYSQL.map(mysqlLine));
  });
});
