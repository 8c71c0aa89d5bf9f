/**
 * Whether a table map can be one of the shape that is known. A table map tells types, and with
 * `binlog_row_metadata=FULL` names, labels, character sets and the primary key: what it tells must be as the shape has it.
 */
import { ColumnType } from '../binlog/column-types.ts';
import type { TableMap } from '../binlog/table-map.ts';
import { typeOfColumn } from '../catalog/column-type.ts';
import { charsetOfCollation } from '../charset/collations.ts';
import { textOf, transcoderOf } from '../charset/transcoder.ts';
import { sameName } from '../ddl/context.ts';
import { functionalParts, type ColumnShape, type TableShape } from '../ddl/shape.ts';
import type { Flavor } from '../server-version.ts';
import { oldTemporalBytes } from '../values/old-temporal.ts';
import { fits, wireColumn, type WireColumn } from '../values/wire-column.ts';
import type { MysqlType } from '../../../contracts/types/mysql-types.ts';

/** A column of the shape as a table map has it. */
export interface FittedColumn {
  /** In the map. */
  readonly place: number;
  readonly wire: WireColumn;
  readonly type: MysqlType;
}

export interface FittedMap {
  /** In the order of the shape; other columns of the map are the server's own. */
  readonly columns: readonly FittedColumn[];
  /** The column of the map that says until when a row version counts; null: there is none. */
  readonly rowEnd: number | null;
}

/** MySQL gives its hidden columns names like this, and leaves them where they are when columns are added behind them. */
const HIDDEN = /^[0-9a-f]{32}$/;
/** `MariaDB` gives its hidden columns these names. */
const ROW_START = 'row_start';
const ROW_END = 'row_end';

/** What does not fit, for people, where something does not. */
export function fitMap(map: TableMap, shape: TableShape, flavor: Flavor): FittedMap | string {
  const hidden = map.types.length - shape.columns.length;
  const most = flavor === 'mysql' ? functionalParts(shape.keys) : hiddenOfMariadb(shape);
  if (hidden < 0 || hidden > most) return `its rows have ${map.types.length} columns, its definition has ${shape.columns.length}`;
  const places = placesOf(map, shape, flavor);
  if (typeof places === 'string') return places;
  const columns: FittedColumn[] = [];
  for (const [at, column] of shape.columns.entries()) {
    const place = places[at] ?? at;
    const wire = wireColumn(map, place);
    const type = withOldTemporal(typeOfColumn(column), wire, flavor);
    const why = misfit(map, place, column, wire, type);
    if (why !== null) return why;
    columns.push({ place, wire, type });
  }
  const key = primaryMisfit(map, shape, places);
  if (key !== null) return key;
  if (!shape.systemVersioned) return { columns, rowEnd: null };
  const rowEnd = rowEndOf(map, shape);
  return rowEnd === null ? 'its rows do not say until when they count' : { columns, rowEnd };
}

/** Where in the map the columns of the shape are: the server's own ones of MySQL may stand between them. */
function placesOf(map: TableMap, shape: TableShape, flavor: Flavor): readonly number[] | string {
  const hidden = map.types.length - shape.columns.length;
  const inOrder = shape.columns.map((_, place) => place);
  if (hidden === 0 || flavor === 'mariadb') return inOrder;
  const { names } = map.optional;
  if (names !== null) {
    let passed = 0;
    return shape.columns.map(({ name }, place) => {
      while (passed < hidden && !sameName(names[place + passed] ?? '', name) && HIDDEN.test(names[place + passed] ?? '')) passed++;
      return place + passed;
    });
  }
  return shape.hiddenInside === true ? onlyPlaces(map, shape, hidden) : inOrder;
}

/** By their types alone. */
function onlyPlaces(map: TableMap, shape: TableShape, hidden: number): readonly number[] | string {
  const types = shape.columns.map(typeOfColumn);
  const isAt = (column: ColumnShape, at: number, place: number): boolean => misfit(map, place, column, wireColumn(map, place), types[at] as MysqlType) === null;
  const first: number[] = [];
  for (const [at, column] of shape.columns.entries()) {
    let place = at === 0 ? 0 : (first[at - 1] as number) + 1;
    while (place <= at + hidden && !isAt(column, at, place)) place++;
    if (place > at + hidden) return `column ${column.name} is not among its rows' columns`;
    first.push(place);
  }
  const last: number[] = [];
  for (const [at, column] of [...shape.columns.entries()].reverse()) {
    let place = (last[0] ?? map.types.length) - 1;
    while (place > at && !isAt(column, at, place)) place--;
    last.unshift(place);
  }
  const unclear = shape.columns.find((_, at) => first[at] !== last[at]);
  if (unclear === undefined) return first;
  return `the server writes the values of indexes over expressions among its columns, and does not tell them from column ${unclear.name}: set binlog_row_metadata to FULL`;
}

/** The widths of values that the map alone does not tell (MariaDB's old temporal types with a fraction). */
export function setHiddenWidths(map: TableMap, columns: readonly FittedColumn[]): void {
  for (const { place, wire, type } of columns) {
    const { name, digits } = type;
    if (isOldTemporal(wire) && (name === 'datetime' || name === 'time' || name === 'timestamp')) map.widths[place] = oldTemporalBytes(name, digits ?? 0);
  }
}

/** Those of system versioning, and one for each unique index over values that are too long for an index. */
function hiddenOfMariadb({ keys, columns, systemVersioned }: TableShape): number {
  const versions = systemVersioned && !columns.some(({ rowBound }) => rowBound !== null) ? 2 : 0;
  return versions + keys.filter(({ kind }) => kind === 'unique').length;
}

function isOldTemporal({ type }: WireColumn): boolean {
  return type === ColumnType.dateTime || type === ColumnType.time || type === ColumnType.timestamp;
}

function withOldTemporal(type: MysqlType, wire: WireColumn, flavor: Flavor): MysqlType {
  return flavor === 'mariadb' && isOldTemporal(wire) ? { ...type, oldTemporal: true } : type;
}

function misfit(map: TableMap, place: number, column: ColumnShape, wire: WireColumn, type: MysqlType): string | null {
  const name = map.optional.names?.[place];
  if (name !== undefined && !sameName(name, column.name)) return `column ${place + 1} of its rows is ${name}, in its definition it is ${column.name}`;
  if (type.name !== 'other' && !fits(wire, type)) return `column ${column.name} of its rows has the type ${wire.type} (metadata ${wire.metadata}), in its definition it is ${type.text}`;
  const charset = wire.collation === null || !hasCharset(type) ? null : charsetOfCollation(wire.collation);
  const expected = type.charset ?? 'binary';
  if (charset !== null && charset !== expected) return `column ${column.name} of its rows is in ${charset}, in its definition in ${expected}`;
  if (wire.labels !== null && charset !== null && !sameLabels(wire.labels, charset, type.labels)) return `column ${column.name} of its rows has other labels than in its definition`;
  return null;
}

/** The server says `binary` of JSON, geometry and vectors, or the charset of what they are made of. */
function hasCharset({ name, isJson }: MysqlType): boolean {
  return !isJson && /^(?:(?:var)?char|(?:tiny|medium|long)?text|(?:var)?binary|(?:tiny|medium|long)?blob|enum|set)$/.test(name);
}

function sameLabels(labels: readonly Uint8Array[], charset: string, expected: readonly string[]): boolean {
  if (labels.length !== expected.length) return false;
  const transcoder = transcoderOf(charset === 'binary' ? 'latin1' : charset, 'replace');
  return transcoder === null || labels.every((label, index) => textOf(transcoder, label) === expected[index]);
}

/** Servers say of a unique key over columns that are never NULL that it is the primary key, where there is none. */
function primaryMisfit({ optional }: TableMap, shape: TableShape, places: readonly number[]): string | null {
  if (optional.primaryKey === null) return null;
  const byNumber = new Map(shape.columns.map(({ number }, at) => [number, places[at] ?? at]));
  const byPlace = new Map(shape.columns.map((column, at) => [places[at] ?? at, column]));
  const counts = (place: number): boolean => byPlace.has(place) && byPlace.get(place)?.rowBound !== 'end';
  const names = (key: readonly number[]): string => key.filter(counts).map((place) => byPlace.get(place)?.name ?? 'an expression').join(', ');
  const theirs = names(optional.primaryKey.map(({ column }) => column));
  const primary = shape.keys.filter(({ kind }) => kind === 'primary');
  const candidates = primary.length > 0 ? primary : shape.keys.filter(({ kind }) => kind === 'unique');
  const ours = candidates.map(({ parts }) => names(parts.map(({ column }) => (column === null ? -1 : (byNumber.get(column) ?? -1)))));
  return ours.includes(theirs) ? null : `the primary key of its rows is (${theirs}), in its definition (${ours.join('), or (')})`;
}

function rowEndOf(map: TableMap, shape: TableShape): number | null {
  const own = shape.columns.findIndex(({ rowBound }) => rowBound === 'end');
  if (own >= 0) return own;
  const first = shape.columns.length;
  const { names } = map.optional;
  const rowEnd = names === null ? first + 1 : names.lastIndexOf(ROW_END);
  const isThere = rowEnd >= first && map.types[rowEnd] === ColumnType.timestamp2 && map.metadata[rowEnd] === 6;
  return isThere && (names === null || names.includes(ROW_START, first)) ? rowEnd : null;
}
