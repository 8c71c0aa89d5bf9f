/**
 * A table's shape in a schema of the log: what `columns` of the schema say is taken from there, the rest stands in
 * `definition` as JSON:
 *
 *     { next, collation, versioned?, hiddenInside?, keys: [[name, kind, [[column, length?], …], generated?], …], columns?: [[place, column], …] }
 *
 * `columns` has those that the schema does not say all of, at their places in the table; the others stand between them in
 * the schema's order.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName, type Column, type TableSchema } from '../../../contracts/schema.ts';
import type { ColumnShape, KeyShape, TableShape } from '../ddl/shape.ts';

type StoredPart = readonly [column: number | null, length?: number];
type StoredKey = readonly [name: string, kind: KeyShape['kind'], parts: readonly StoredPart[], generated?: boolean];

interface Stored {
  readonly next: number;
  readonly collation: string;
  readonly versioned?: boolean;
  readonly hiddenInside?: boolean;
  readonly keys: readonly StoredKey[];
  readonly columns?: readonly (readonly [place: number, column: ColumnShape])[];
}

export function encodeDefinition(shape: TableShape, columns: readonly Column[]): string {
  const known = new Map(columns.map((column) => [column.number, column]));
  const own = shape.columns.flatMap((column, place) => {
    const logged = known.get(column.number);
    return logged !== undefined && same(shapeOfColumn(logged), column) ? [] : [[place, column] as const];
  });
  const stored: Stored = {
    next: shape.nextNumber,
    collation: shape.collation,
    ...(shape.systemVersioned ? { versioned: true } : {}),
    ...(shape.hiddenInside === true ? { hiddenInside: true } : {}),
    keys: shape.keys.map(storedKey),
    ...(own.length === 0 ? {} : { columns: own }),
  };
  return JSON.stringify(stored);
}

/** @throws TidemarkError `SCHEMA_INVALID` for a schema that is not of this connector */
export function shapeOfSchema(schema: TableSchema): TableShape {
  const stored = parse(schema);
  const own = new Map(stored.columns);
  const ownNumbers = new Set([...own.values()].map(({ number }) => number));
  const rest = schema.columns.filter(({ number }) => !ownNumbers.has(number)).values();
  const columns: ColumnShape[] = [];
  for (let place = 0; place < own.size + schema.columns.length; place++) {
    const column = own.get(place);
    if (column !== undefined) columns.push(column);
    else {
      const next = rest.next();
      if (next.done === true) break;
      columns.push(shapeOfColumn(next.value));
    }
  }
  return {
    columns,
    keys: stored.keys.map(([name, kind, parts, generated]) => ({
      name, kind, parts: parts.map(([column, length]) => ({ column, length: length ?? null })), generated: generated === true,
    })),
    nextNumber: stored.next,
    collation: stored.collation,
    systemVersioned: stored.versioned === true,
    ...(stored.hiddenInside === true ? { hiddenInside: true } : {}),
  };
}

/** Exactly this, or else it is stored whole. */
function shapeOfColumn(column: Column): ColumnShape {
  const { number, name, nativeType, nullable, generated } = column;
  const [, type = nativeType, collation = null] = /^(.*?) character set \w+ collate (\w+)$/s.exec(nativeType) ?? [];
  return {
    number,
    name,
    type,
    collation,
    nullable,
    default: column.constantDefault === null ? { kind: 'none' } : { kind: 'constant', text: column.constantDefault },
    generated,
    invisible: false,
    autoIncrement: column.identity !== 'no',
    json: false,
    rowBound: null,
  };
}

function storedKey({ name, kind, parts, generated }: KeyShape): StoredKey {
  const stored = parts.map(({ column, length }): StoredPart => (length === null ? [column] : [column, length]));
  return generated ? [name, kind, stored, true] : [name, kind, stored];
}

function parse(schema: TableSchema): Stored {
  if (schema.definition === undefined) throw invalid(schema);
  const stored: unknown = JSON.parse(schema.definition);
  if (!isStored(stored)) throw invalid(schema);
  return stored;
}

function isStored(value: unknown): value is Stored {
  return typeof value === 'object' && value !== null && 'next' in value && typeof value.next === 'number' && 'collation' in value && 'keys' in value && Array.isArray(value.keys);
}

function invalid(schema: TableSchema): TidemarkError {
  return new TidemarkError('SCHEMA_INVALID', `the schema of ${tableName(schema)} is not one of a MySQL table`, { where: { table: tableName(schema) } });
}

function same(a: ColumnShape, b: ColumnShape): boolean {
  return (
    a.number === b.number && a.name === b.name && a.type === b.type && a.collation === b.collation && a.nullable === b.nullable &&
    JSON.stringify(a.default) === JSON.stringify(b.default) && a.generated === b.generated && a.invisible === b.invisible &&
    a.autoIncrement === b.autoIncrement && a.json === b.json && a.rowBound === b.rowBound
  );
}
