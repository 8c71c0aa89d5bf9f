/** What a relational sink does with columns whose values may not fit a column of their own kind at the replica. */
import { Type } from 'typebox';
import type { Options, SinkConfig } from '../../contracts/config.ts';
import type { Finding } from '../../contracts/finding.ts';
import { type Column, tableName, type TableSchema } from '../../contracts/schema.ts';

/**
 * `by-type`: a column of the same kind where the replica has one, and a value that it cannot hold is an error; text where it
 * has none. `text`: text wherever some value may not fit. `error`: as `by-type`, but a type of which the replica has no kind
 * is refused.
 */
export type Unfit = 'by-type' | 'text' | 'error';

const UNFIT_CHOICES: readonly Unfit[] = ['by-type', 'text', 'error'];

/** The setting of each column of a table. */
export type UnfitRules = (table: Pick<TableSchema, 'namespace' | 'name'>, column: Pick<Column, 'name'>) => Unfit;

const MEANING =
  'Columns whose values may not fit a column of their kind at the replica (docs/types-across.md). by-type: a value that does not fit is an error, a type that the replica has nothing of is text. ' +
  'text: such columns are text. error: types that the replica has nothing of are refused, too';

/** The setting of all tables, for the JSON Schema of a sink's options. */
export const UNFIT_OPTION = Type.Unsafe<Unfit>({ enum: [...UNFIT_CHOICES], default: 'by-type', description: MEANING });

/** The setting of one table: of all its columns, or a map from column to setting. */
export const UNFIT_TABLE_OPTION = Type.Unsafe<Unfit | Readonly<Record<string, Unfit>>>({
  type: ['string', 'object'],
  pattern: `^(${UNFIT_CHOICES.join('|')})$`,
  minProperties: 1,
  additionalProperties: { enum: [...UNFIT_CHOICES] },
  description: 'As `unfit` of the sink, for this table: one setting, or a map from column to setting',
});

/** From a sink's configuration: the column's, else the table's, else the sink's. */
export function unfitRules(config: Pick<SinkConfig, 'options' | 'optionsOf'>): UnfitRules {
  const general = choice(config.options['unfit']) ?? 'by-type';
  return (table, column) => {
    const own: unknown = config.optionsOf?.(table)['unfit'];
    return choice(own) ?? (isOptions(own) && Object.hasOwn(own, column.name) ? choice(own[column.name]) : null) ?? general;
  };
}

function choice(value: unknown): Unfit | null {
  return UNFIT_CHOICES.find((one) => one === value) ?? null;
}

function isOptions(value: unknown): value is Options {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A column of a table at the replica, for `check`. */
export interface ColumnLimits {
  readonly name: string;
  /** Its type at the replica. */
  readonly type: string;
  /** Values of the source's type that it does not hold, for people; null: there are none. */
  readonly beyond: string | null;
  /** It is text because the replica has no type of this kind. */
  readonly isStandIn: boolean;
}

/** One finding for all columns of a table that may meet a value that does not fit, and one for those that are text for want of a type. */
export function unfitFindings(schema: TableSchema, columns: readonly ColumnLimits[]): Finding[] {
  const table = tableName(schema);
  const limited = columns.filter(({ beyond, isStandIn }) => beyond !== null && !isStandIn);
  const standIns = columns.filter(({ isStandIn }) => isStandIn);
  const findings: Finding[] = [];
  if (limited.length > 0) {
    const what = `values that do not fit are refused: ${limited.map(({ name, type, beyond }) => `${name} (${type}) does not hold ${beyond}`).join('; ')}`;
    findings.push({ severity: 'warning', code: 'replica-unfit', what, remedy: 'If the source has such values: `unfit: text` for the column keeps them (docs/types-across.md).', table });
  }
  if (standIns.length > 0) {
    const what = `columns are text at the replica, which has no type of their kind: ${standIns.map(({ name }) => name).join(', ')}`;
    findings.push({ severity: 'warning', code: 'replica-text', what, remedy: 'Nothing, if text will do; `unfit: error` refuses such columns (docs/types-across.md).', table });
  }
  return findings;
}
