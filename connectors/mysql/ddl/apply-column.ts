import { type CharsetDefaults, type ResolvedCharset, resolveCharset } from './charsets.ts';
import type { ColumnDefinition, DefaultClause } from './column-definition.ts';
import { constantText, implicitText } from './constant-text.ts';
import type { SqlContext } from './context.ts';
import { type DataType, isTextBase } from './data-type.ts';
import type { ColumnDefault, ColumnShape, Fill } from './shape.ts';
import { columnType } from './type-text.ts';

/** Under what a column is defined: the statement, and the character set of its table. */
export interface ColumnSurroundings {
  readonly context: SqlContext;
  readonly defaults: CharsetDefaults;
  readonly table: ResolvedCharset;
}

/** The column that a definition makes. */
export function columnShape(definition: ColumnDefinition, number: number, around: ColumnSurroundings): ColumnShape {
  const { type } = definition;
  const charset = columnCharset(type, around);
  const printed = columnType(type, charset.charset, around.context);
  return {
    number,
    name: definition.name,
    type: printed,
    collation: hasCollation(printed, charset.collation, around.context) ? charset.collation : null,
    nullable: isNullable(definition, around.context),
    default: definedDefault(definition, printed, around.context),
    generated: definition.generated,
    invisible: definition.invisible,
    autoIncrement: definition.autoIncrement,
    json: around.context.flavor === 'mariadb' && type.json,
    rowBound: definition.rowBound,
  };
}

/** Types that COLLATION_NAME of information_schema is not NULL for. */
export function hasCollation(printed: string, collation: string, context: SqlContext): boolean {
  if (collation === 'binary') return context.flavor === 'mariadb' && /^(?:enum|set)\(/.test(printed);
  return /^(?:(?:var)?char\(|(?:tiny|medium|long)?text\b|enum\(|set\()/.test(printed);
}

function columnCharset(type: DataType, around: ColumnSurroundings): ResolvedCharset {
  if (!isTextBase(type.base)) return around.table;
  const resolved = resolveCharset(type, around.table, around.context, around.defaults);
  if (!type.binaryCollation || type.collation !== null) return resolved;
  return { charset: resolved.charset, collation: resolved.charset === 'binary' ? 'binary' : `${resolved.charset}_bin` };
}

function isNullable(definition: ColumnDefinition, context: SqlContext): boolean {
  if (definition.autoIncrement || definition.keys.some((key) => key.kind === 'primary')) return false;
  if (definition.nullable !== null) return definition.nullable;
  return definition.type.base !== 'timestamp' || context.explicitTimestamps || definition.generated !== 'no';
}

function definedDefault(definition: ColumnDefinition, printed: string, context: SqlContext): ColumnDefault {
  const { type, default: clause, nullable } = definition;
  // The first such column of a table gets the time of the row, the others a zero.
  const implicit = clause.kind === 'none' && type.base === 'timestamp' && !context.explicitTimestamps && nullable !== true;
  return implicit ? { kind: 'expression' } : columnDefault(clause, type, printed);
}

/** Behind DEFAULT, or nothing: as a value of the column. `type` null: one that is not known here. */
export function columnDefault(clause: DefaultClause, type: DataType | null, printed: string): ColumnDefault {
  if (clause.kind !== 'literal') return clause;
  if (clause.literal.kind === 'null') return { kind: 'none' };
  const text = type === null ? null : constantText(clause.literal, type, printed);
  return text === null ? { kind: 'expression' } : { kind: 'constant', text };
}

/** What rows that were there before hold in a column just added. */
export function fillOf(column: ColumnShape, definition: ColumnDefinition): Fill {
  if (column.generated !== 'no' || column.autoIncrement || column.default.kind === 'expression') return { kind: 'unknown' };
  if (column.default.kind === 'constant') return column.default;
  if (column.nullable) return { kind: 'null' };
  const text = implicitText(definition.type, column.type);
  return text === null ? { kind: 'unknown' } : { kind: 'constant', text };
}
