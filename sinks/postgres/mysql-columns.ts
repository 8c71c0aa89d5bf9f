/** Columns of MySQL and MariaDB at a Postgres replica. docs/types-across.md is the table for people. Pure. */
import type { Column } from '../../contracts/schema.ts';
import type { LogicalType } from '../../contracts/types/logical-type.ts';
import type { Unfit } from '../relational/unfit.ts';

/** Types of extensions, as DDL writes them; null: the replica has none. */
export interface ExtensionTypes {
  /** PostGIS. */
  readonly geometry: string | null;
  /** pgvector. */
  readonly vector: string | null;
}

export const NO_EXTENSIONS: ExtensionTypes = { geometry: null, vector: null };

export interface FittedColumn {
  readonly column: Column;
  /** Values of the source's type that the column does not hold, for people; null: there are none. */
  readonly beyond: string | null;
  /** It is text because the replica has no type of this kind. */
  readonly isStandIn: boolean;
  /** What would bring the type that it has not; null: nothing. */
  readonly remedy: string | null;
}

interface Native {
  readonly sql: string;
  readonly beyond?: string;
  readonly isStandIn?: boolean;
  readonly remedy?: string;
}

const TEXT: LogicalType = { kind: 'text', length: null, fixed: false };
const NO_DATE = 'dates with a zero year, month or day, or a day that the month has not';
const MOST_DIMENSIONS = 16_000;

/** The column with the type that it gets at the replica as its native one; its values stay as they are. */
export function fittedColumn(column: Column, unfit: Unfit, types: ExtensionTypes): FittedColumn {
  const { sql, beyond = null, isStandIn = false, remedy = null } = nativeOf(column.type, types);
  const isText = sql === 'text' || (unfit === 'text' && beyond !== null);
  const fitted: Column = {
    ...column,
    nativeType: isText ? 'text' : sql,
    // An enum is text as its labels are: a type of its own would have to follow every change of them.
    type: isText && column.type.kind !== 'bytes' ? TEXT : column.type,
    constantDefault: column.constantDefault === null || isDefault(column, isText) ? column.constantDefault : null,
  };
  return { column: fitted, beyond: isText ? null : beyond, isStandIn, remedy };
}

function nativeOf(type: LogicalType, types: ExtensionTypes): Native {
  switch (type.kind) {
    case 'int16':
      return { sql: 'smallint' };
    case 'int32':
      return { sql: 'integer' };
    case 'int64':
      return { sql: 'bigint' };
    case 'uint64':
      return { sql: 'numeric(20,0)' };
    case 'decimal':
      return { sql: `numeric(${type.precision ?? 65},${type.scale ?? 0})` };
    case 'float32':
      return { sql: 'real' };
    case 'float64':
      return { sql: 'double precision' };
    case 'bit':
      return { sql: `bit(${type.length ?? 1})` };
    case 'text':
      return { sql: type.length === null || type.length === 0 ? 'text' : `character varying(${type.length})` };
    case 'bytes':
      return { sql: 'bytea' };
    case 'date':
      return { sql: 'date', beyond: NO_DATE };
    case 'timestamp':
      return { sql: `timestamp(${type.digits}) without time zone`, beyond: NO_DATE };
    case 'timestamptz':
      return { sql: `timestamp(${type.digits}) with time zone`, beyond: 'the zero timestamp' };
    case 'time':
      return { sql: `time(${type.digits}) without time zone`, beyond: 'times below 0 or above 24 hours' };
    case 'json':
    case 'uuid':
    case 'inet':
      return { sql: type.kind };
    case 'geometry':
      return types.geometry === null ? { sql: 'text', isStandIn: true, remedy: 'CREATE EXTENSION postgis' } : { sql: types.geometry };
    case 'vector':
      return vectorType(type.dimensions ?? 0, types);
    case 'enum':
    case 'set':
      return { sql: 'text' };
    case 'unknown':
    case 'bool':
    case 'cidr':
    case 'macaddr':
    case 'money':
    case 'hstore':
    case 'ltree':
    case 'tsvector':
    case 'xml':
    case 'timetz':
    case 'interval':
    case 'array':
    case 'range':
    case 'multirange':
    case 'composite':
    case 'domain':
      // No column of these servers has any of them, but for types that are not known here.
      return { sql: 'text', isStandIn: true };
  }
}

function vectorType(dimensions: number, { vector }: ExtensionTypes): Native {
  if (vector === null) return { sql: 'text', isStandIn: true, remedy: 'CREATE EXTENSION vector' };
  if (dimensions < 1 || dimensions > MOST_DIMENSIONS) return { sql: 'text', isStandIn: true };
  return { sql: `${vector}(${dimensions})`, beyond: 'vectors of fewer dimensions' };
}

/** A default that the column cannot hold is left out: a replica gets values. */
function isDefault({ type, constantDefault }: Column, isText: boolean): boolean {
  const text = constantDefault ?? '';
  if (text.includes('\0')) return false;
  if (isText) return true;
  const { kind } = type;
  if (kind === 'date' || kind === 'timestamp' || kind === 'timestamptz') return !/^0000|-00/.test(text);
  if (kind === 'time') return /^([01]\d|2[0-3]):/.test(text);
  return kind !== 'geometry' && kind !== 'vector';
}
