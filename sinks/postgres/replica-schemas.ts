/** The log's tables in the replica's own types: what everything in this sink works with. Cells stay as they are. */
import type pg from 'pg';
import type { SinkConfig } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { SinkBatch, SinkStep } from '../../contracts/sink.ts';
import { fitName, POSTGRES_NAMES, requireDistinct } from '../relational/identifiers.ts';
import { type UnfitRules, unfitRules } from '../relational/unfit.ts';
import { type ExtensionTypes, fittedColumn, type FittedColumn, NO_EXTENSIONS } from './mysql-columns.ts';

export class ReplicaSchemas {
  readonly #unfit: UnfitRules;
  #types: ExtensionTypes = NO_EXTENSIONS;
  #known = new WeakMap<TableSchema, TableSchema>();

  constructor(config: Pick<SinkConfig, 'options' | 'optionsOf'>) {
    this.#unfit = unfitRules(config);
  }

  /** Finds out which types the replica has. Without it those of extensions count as missing. */
  async learn(client: pg.ClientBase): Promise<void> {
    const { rows } = await client.query<{ name: string; type: string }>(
      `SELECT DISTINCT ON (t.typname) t.typname::text AS name, pg_catalog.format_type(t.oid, NULL) AS type
         FROM pg_catalog.pg_type t WHERE t.typname IN ('geometry', 'vector') AND t.typtype = 'b' ORDER BY t.typname, t.oid`,
    );
    const typeOf = (name: string): string | null => rows.find((row) => row.name === name)?.type ?? null;
    const types: ExtensionTypes = { geometry: typeOf('geometry'), vector: typeOf('vector') };
    if (types.geometry === this.#types.geometry && types.vector === this.#types.vector) return;
    this.#types = types;
    this.#known = new WeakMap();
  }

  /**
   * The same object for the same object, as long as the types are the same; a table of Postgres stays as it is.
   * @throws TidemarkError `REPLICA_TYPE` for a type that the replica has none of, where `unfit` is `error`; `REPLICA_NAMES`
   */
  readonly of = (schema: TableSchema): TableSchema => {
    if (schema.dialect !== 'mysql') return schema;
    const known = this.#known.get(schema);
    if (known !== undefined) return known;
    const columns = this.columns(schema).map(({ column }) => ({ ...column, name: fitName(column.name, POSTGRES_NAMES) }));
    requireDistinct(schema, columns.map(({ name }) => name), POSTGRES_NAMES);
    const fitted: TableSchema = { ...schema, columns };
    this.#known.set(schema, fitted);
    return fitted;
  };

  /** With what each column does not hold. @throws TidemarkError `REPLICA_TYPE` */
  columns(schema: TableSchema): FittedColumn[] {
    if (schema.dialect !== 'mysql') return [];
    return schema.columns.map((column) => {
      const unfit = this.#unfit(schema, column);
      const fitted = fittedColumn(column, unfit, this.#types);
      if (fitted.isStandIn && unfit === 'error') {
        throw new TidemarkError('REPLICA_TYPE', `the replica has no type like ${column.nativeType} of column ${column.name}`, {
          where: { table: tableName(schema), column: column.name },
          remedy: `${fitted.remedy === null ? 'Set' : `${fitted.remedy}, or set`} \`unfit: text\` or \`unfit: by-type\` for the column, or leave it out at the source with \`columns\`.`,
        });
      }
      return fitted;
    });
  }

  /** @throws TidemarkError as `of` */
  batch(batch: SinkBatch): SinkBatch {
    return batch.steps.some(isForeign) ? { ...batch, steps: batch.steps.map((step) => this.#step(step)) } : batch;
  }

  #step(step: SinkStep): SinkStep {
    switch (step.kind) {
      case 'rows':
        return { ...step, tables: step.tables.map((table) => ({ ...table, schema: this.of(table.schema) })) };
      case 'schema':
        return { ...step, before: step.before === null ? null : this.of(step.before), after: this.of(step.after) };
      case 'table-state':
        return { ...step, table: this.of(step.table) };
    }
  }
}

function isForeign(step: SinkStep): boolean {
  switch (step.kind) {
    case 'rows':
      return step.tables.some(({ schema }) => schema.dialect === 'mysql');
    case 'schema':
      return step.after.dialect === 'mysql';
    case 'table-state':
      return step.table.dialect === 'mysql';
  }
}
