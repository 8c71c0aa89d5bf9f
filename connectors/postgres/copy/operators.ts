/**
 * By what keys are compared. Sessions have no search path, so that the operators of a type of an extension must be named
 * with their schema; else there are none, or, worse, those of a type that it is cast to, in another order than its own.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { integer, text } from '../catalog/catalog-query.ts';
import type { Session } from '../session.ts';

export type Comparison = '<' | '<=' | '=' | '>=' | '>';

/** Strategies of a btree, whose order ORDER BY follows. */
const STRATEGIES: readonly Comparison[] = ['<', '<=', '=', '>=', '>'];

/** Operators outside of pg_catalog, by column number. */
export class KeyOperators {
  readonly #found: ReadonlyMap<number, ReadonlyMap<Comparison, string>>;

  constructor(found: ReadonlyMap<number, ReadonlyMap<Comparison, string>>) {
    this.#found = found;
  }

  /** All of the columns' operators are found without a schema. */
  get arePlain(): boolean {
    return this.#found.size === 0;
  }

  of(column: number, comparison: Comparison): string {
    return this.#found.get(column)?.get(comparison) ?? comparison;
  }
}

export async function readKeyOperators(session: Session, table: TableSchema): Promise<KeyOperators> {
  const numbers = table.key.map((index) => table.columns[index]?.number ?? 0);
  const rows = await session.query(
    `SELECT a.attnum AS number, p.amopstrategy AS strategy, format('OPERATOR(%I.%s)', n.nspname, o.oprname) AS operator
       FROM pg_catalog.pg_attribute a
       CROSS JOIN LATERAL (
         WITH RECURSIVE under(oid, kind, base) AS (
           SELECT t.oid, t.typtype, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid
           UNION ALL SELECT t.oid, t.typtype, t.typbasetype FROM under JOIN pg_catalog.pg_type t ON under.kind = 'd' AND t.oid = under.base)
         SELECT oid FROM under WHERE kind <> 'd') AS type
       JOIN pg_catalog.pg_opclass c ON c.opcintype = type.oid AND c.opcdefault
       JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
       JOIN pg_catalog.pg_amop p ON p.amopfamily = c.opcfamily AND p.amoplefttype = c.opcintype AND p.amoprighttype = c.opcintype
       JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr
       JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
      WHERE a.attrelid = $1::oid AND a.attnum = ANY ($2::int2[]) AND p.amopstrategy BETWEEN 1 AND 5 AND n.nspname <> 'pg_catalog'`,
    [table.sourceTableId, `{${numbers.join(',')}}`],
  );
  const found = new Map<number, Map<Comparison, string>>();
  for (const row of rows) {
    const comparison = STRATEGIES[integer(row, 'strategy') - 1];
    if (comparison === undefined) throw new TidemarkError('POSTGRES_QUERY', 'a btree has a strategy that is not known');
    const number = integer(row, 'number');
    found.set(number, (found.get(number) ?? new Map<Comparison, string>()).set(comparison, text(row, 'operator')));
  }
  return new KeyOperators(found);
}
