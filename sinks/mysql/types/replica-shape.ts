/**
 * The shape that a table of the log gets at a MySQL or MariaDB replica: types, defaults, and the key within what an index
 * and a row may hold. A pure function: two versions of a table give two shapes, and `diffSchema` what lies between them.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Cell } from '../../../contracts/row-image.ts';
import { type Column, tableName, type TableSchema } from '../../../contracts/schema.ts';
import { isGeometry, type MysqlType } from '../../../contracts/types/mysql-types.ts';
import { fitName, MYSQL_COLUMN_NAMES, requireDistinct } from '../../relational/identifiers.ts';
import type { UnfitRules } from '../../relational/unfit.ts';
import { characterBytes, exactText } from './collations.ts';
import { type ColumnType, columnType, longText, parseNative } from './column-type.ts';
import { exactCollation, hasLargeDefaults, type ReplicaServer } from './replica-server.ts';
import { quoteText } from './sql.ts';
import { valueForm } from './value-form.ts';

export interface ReplicaColumn {
  readonly name: string;
  /** The type as DDL writes it, without NULL and default. */
  readonly sql: string;
  readonly type: MysqlType;
  readonly nullable: boolean;
  /** What stands behind DEFAULT; null: none. */
  readonly defaultSql: string | null;
  /** Values of the source's type that it does not hold, for people; null: there are none. */
  readonly beyond: string | null;
  /** The replica has no type of its kind, or the key none of its length. */
  readonly isStandIn: boolean;
}

export interface ReplicaKeyPart {
  readonly column: string;
  /** Characters (of bytes: bytes) that the index has of it; null: all. */
  readonly prefix: number | null;
}

export interface ReplicaKey {
  /**
   * `index`: rows are found by it, and it is not unique: values are longer than an index may hold. Compare the whole
   * columns, delete and insert.
   */
  readonly kind: 'primary' | 'unique' | 'index' | 'none';
  readonly parts: readonly ReplicaKeyPart[];
}

export interface ReplicaShape {
  /** The log's schema with the types of the replica as native ones. */
  readonly schema: TableSchema;
  /** One for each column of the schema. */
  readonly columns: readonly ReplicaColumn[];
  readonly key: ReplicaKey;
}

export interface ShapeRequest {
  readonly server: ReplicaServer;
  readonly unfit: UnfitRules;
}

/** @throws TidemarkError `REPLICA_TYPE` for a type that the replica has none of, where `unfit` is `error`; `REPLICA_NAMES` */
export function replicaShape(schema: TableSchema, request: ShapeRequest): ReplicaShape {
  const { server } = request;
  const names = schema.columns.map(({ name }) => fitName(name, MYSQL_COLUMN_NAMES));
  requireDistinct(schema, names, MYSQL_COLUMN_NAMES);
  const types = withinRow(schema, schema.columns.map((column) => typeOf(schema, column, request)), server);
  const key = keyOf(schema, types, request);
  const columns = schema.columns.map((column, index) => replicaColumn({ ...column, name: names[index] ?? column.name }, key.types[index] ?? types[index], server));
  return {
    schema: { ...schema, columns: schema.columns.map((column, index) => ({ ...column, name: names[index] ?? column.name, nativeType: columns[index]?.sql ?? column.nativeType })) },
    columns,
    key: { ...key.key, parts: key.key.parts.map((part) => ({ ...part, column: fitName(part.column, MYSQL_COLUMN_NAMES) })) },
  };
}

/** The shape whose `schema` was recorded when the replica's table got it: with the types that it has, whatever the settings are now. */
export function recordedShape(schema: TableSchema, server: ReplicaServer): ReplicaShape {
  const types = schema.columns.map(({ nativeType }): ColumnType => ({ sql: nativeType, beyond: null, isStandIn: false }));
  const columns = schema.columns.map((column, index) => replicaColumn(column, types[index], server));
  return { schema, columns, key: keyOf(schema, types, { server, unfit: () => 'text' }).key };
}

/** What stands behind DEFAULT for this canonical text; null: the column cannot have it as a default. */
export function defaultSql(column: Pick<Column, 'type'>, type: MysqlType, text: string, server: ReplicaServer): string | null {
  const isLarge = /(text|blob)$|^(json|vector|geometry|point|linestring|polygon|multi|geometrycollection)/.test(type.name);
  if (isLarge && !hasLargeDefaults(server)) return null;
  const bytes = Buffer.from(text, 'utf8');
  const { literal, room } = valueForm(column, type, server);
  const out = Buffer.allocUnsafe(room(bytes, 0, bytes.length));
  const end = literal(Cell.text, bytes, 0, bytes.length, out, 0);
  if (end < 0) return null;
  const sql = type.charset === null && out[0] === 0x5f ? hexLiteral(out.subarray(0, end)) : out.toString('utf8', 0, end);
  // MariaDB keeps such a default as text, in which it loses the backslashes of a literal.
  const isLost = isLarge && server.version.flavor === 'mariadb' && type.charset !== null && /[^ -~]|['\\]/.test(text);
  if (isLost) return `(CONVERT(x'${bytes.toString('hex')}' USING utf8mb4))`;
  return isLarge ? `(${sql})` : sql;
}

/** DDL is a string here: bytes go into it as digits. @param quoted `_binary'…'` */
function hexLiteral(quoted: Buffer): string {
  const inner = quoted.subarray("_binary'".length, -1);
  const bytes: number[] = [];
  for (let at = 0; at < inner.length; at++) {
    if (inner[at] === 0x5c) at++;
    bytes.push(inner[at] as number);
  }
  return `x'${Buffer.from(bytes).toString('hex')}'`;
}

function typeOf(schema: TableSchema, column: Column, { server, unfit }: ShapeRequest): ColumnType {
  const setting = unfit(schema, column);
  const type = columnType(column, schema.dialect ?? 'postgres', setting, server);
  if (type.isStandIn && setting === 'error') {
    throw new TidemarkError('REPLICA_TYPE', `the replica has no type like ${column.nativeType} of column ${column.name}`, {
      where: { table: tableName(schema), column: column.name },
      remedy: 'Set `unfit: text` or `unfit: by-type` for the column, or leave it out at the source with `columns`.',
    });
  }
  return type;
}

function replicaColumn(column: Column, type: ColumnType | undefined, server: ReplicaServer): ReplicaColumn {
  if (type === undefined) throw new TidemarkError('INTERNAL', `column ${column.name} has no type`);
  const parsed = parseNative(type.sql);
  return {
    name: column.name,
    sql: type.sql,
    type: parsed,
    nullable: column.nullable,
    defaultSql: column.constantDefault === null ? null : defaultSql(column, parsed, column.constantDefault, server),
    beyond: type.beyond,
    isStandIn: type.isStandIn,
  };
}

/** What the columns of one row may take together; text and blobs count with their pointers only. */
const MOST_ROW_BYTES = 65_535;
const POINTER_BYTES = 12;

/** The longest columns of text and bytes become such as are kept outside of the row, until the row holds them. */
function withinRow(schema: TableSchema, types: readonly ColumnType[], server: ReplicaServer): ColumnType[] {
  const fitted = [...types];
  const sizes = fitted.map(({ sql }) => rowBytes(parseNative(sql)));
  const nullBits = Math.ceil(schema.columns.length / 8);
  for (;;) {
    if (sizes.reduce((sum, size) => sum + size, nullBits) <= MOST_ROW_BYTES) return fitted;
    const longest = sizes.reduce((best, size, index) => (size > (sizes[best] ?? 0) && !schema.key.includes(index) && isVariable(fitted[index]) ? index : best), -1);
    const type = fitted[longest];
    if (type === undefined || (sizes[longest] ?? 0) <= POINTER_BYTES) return fitted;
    fitted[longest] = { ...type, sql: outsideRow(parseNative(type.sql), server) };
    sizes[longest] = POINTER_BYTES;
  }
}

function isVariable(type: ColumnType | undefined): boolean {
  return type !== undefined && /^(var)?(char|binary)\(/.test(type.sql);
}

function outsideRow({ charset, collation }: MysqlType, server: ReplicaServer): string {
  if (charset === null) return 'mediumblob';
  return collation === null ? longText(server) : `mediumtext character set ${charset} collate ${collation}`;
}

/** Bytes in an index or in a row. */
const FIXED_BYTES: ReadonlyMap<string, number> = new Map([
  ['tinyint', 1], ['year', 1], ['smallint', 2], ['enum', 2], ['mediumint', 3], ['date', 3], ['int', 4], ['float', 4], ['inet4', 4], ['time', 6], ['bigint', 8],
  ['double', 8], ['set', 8], ['datetime', 8], ['timestamp', 8], ['uuid', 16], ['inet6', 16],
]);

/** The same; of text and blobs, which are outside of the row, their pointer. */
function rowBytes({ name, length, charset }: MysqlType): number {
  const fixed = FIXED_BYTES.get(name);
  if (fixed !== undefined) return fixed;
  const most = length ?? 1;
  if (name === 'decimal') return 4 * Math.ceil(most / 9) + 4;
  if (name === 'bit') return Math.ceil(most / 8);
  if (name === 'char' || name === 'varchar') return most * characterBytes(charset ?? 'ascii') + 2;
  return name === 'binary' || name === 'varbinary' ? most + 2 : POINTER_BYTES;
}

/** Lengths that need an index of their own kind: text and bytes. `sql`: the type that a fixed one has in a key; null: the same as elsewhere. */
type KeyColumn = { readonly index: number; readonly bytes: number; readonly isText: boolean } | { readonly index: number; readonly fixed: number; readonly sql: string | null };

interface KeyedTypes {
  readonly key: ReplicaKey;
  /** Types that are others because of the key, by index of the column. */
  readonly types: (ColumnType | undefined)[];
}

function keyOf(schema: TableSchema, types: readonly ColumnType[], request: ShapeRequest): KeyedTypes {
  const changed: (ColumnType | undefined)[] = [];
  if (schema.keyKind === 'none') return { key: { kind: 'none', parts: [] }, types: changed };
  const columns = schema.key.map((index) => keyColumn(index, types[index], schema.columns[index], request.server));
  const shares = shareOut(columns, request.server.indexBytes);
  let unique = true;
  const parts = columns.map((column, place): ReplicaKeyPart => {
    const source = schema.columns[column.index];
    if (source === undefined) throw new TidemarkError('SCHEMA_INVALID', `the key has a column ${column.index}, which is not there`, { where: { table: tableName(schema) } });
    if ('fixed' in column) {
      if (column.sql !== null) changed[column.index] = { sql: column.sql, beyond: null, isStandIn: false };
      return { column: source.name, prefix: null };
    }
    const share = shares[place] ?? 0;
    const isCut = share < column.bytes;
    if (isCut && request.unfit(schema, source) === 'text') {
      unique = false;
      changed[column.index] = { sql: column.isText ? longText(request.server) : 'longblob', beyond: null, isStandIn: true };
      return { column: source.name, prefix: column.isText ? Math.floor(share / 4) : share };
    }
    changed[column.index] = { sql: keyType(column.isText, share, request.server), beyond: isCut ? `more than ${column.isText ? `${Math.floor(share / 4)} characters` : `${share} bytes`} in a key` : null, isStandIn: false };
    return { column: source.name, prefix: null };
  });
  return { key: { kind: unique ? (schema.keyKind === 'primary' ? 'primary' : 'unique') : 'index', parts }, types: changed };
}

/** Under a collation in which two keys are equal only when their bytes are: the log tells them apart by nothing else. */
function keyType(isText: boolean, bytes: number, server: ReplicaServer): string {
  if (!isText) return `varbinary(${bytes})`;
  return exactCollation(server) === null ? `varbinary(${bytes})` : `varchar(${Math.floor(bytes / 4)})${exactText(server)}`;
}

const UNLIMITED = Number.MAX_SAFE_INTEGER;

/** Labels in a key are compared by their bytes, as all text there. */
function keyColumn(index: number, type: ColumnType | undefined, column: Column | undefined, server: ReplicaServer): KeyColumn {
  const native = parseNative(type?.sql ?? '');
  const { name, length, labels } = native;
  if (name === 'varchar' || name === 'char') {
    // Fixed text without blanks at its end is as exact as it stands.
    if (native.charset === 'ascii' && native.collation === 'ascii_bin' && column?.type.kind !== 'text') return { index, fixed: length ?? 1, sql: null };
    return { index, bytes: 4 * (length ?? 1), isText: true };
  }
  if (name === 'varbinary') return { index, bytes: length ?? 1, isText: false };
  if (name.endsWith('blob')) return { index, bytes: UNLIMITED, isText: false };
  return name.endsWith('text') || name === 'json' || name === 'vector' || isGeometry(name) ? { index, bytes: UNLIMITED, isText: true } : { index, fixed: rowBytes(native), sql: labels.length === 0 ? null : `${name}(${labels.map(quoteText).join(',')})${exactText(server)}` };
}

/**
 * What of the index each column of text or bytes gets: what it asks for, or an equal share of what is left. All that get
 * less than they ask for get the same, so that it does not matter how much they ask for: a shape is found again by what
 * was made of it.
 */
function shareOut(columns: readonly KeyColumn[], indexBytes: number): number[] {
  const shares = columns.map((column) => ('fixed' in column ? column.fixed : 0));
  let left = indexBytes - shares.reduce((sum, share) => sum + share, 0);
  const open = columns.flatMap((column, place) => ('fixed' in column ? [] : [{ place, bytes: column.bytes }])).toSorted((a, b) => a.bytes - b.bytes);
  let equal: number | null = null;
  for (const [rank, { place, bytes }] of open.entries()) {
    const share: number = Math.max(4, Math.min(bytes, equal ?? Math.floor(left / (open.length - rank) / 4) * 4));
    if (share < bytes) equal = share;
    shares[place] = share;
    left -= share;
  }
  return shares;
}
