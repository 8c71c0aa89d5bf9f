/**
 * The tables of one source as its catalog shows them and its configuration wants them. What stream, copy and `check`
 * share, so that all three mean the same columns.
 */
import type { ColumnRules, SourceConfig } from '../../../contracts/config.ts';
import { asTidemarkError, TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName, type Column, type TableSchema } from '../../../contracts/schema.ts';
import { baseType } from '../../../contracts/types/logical-type.ts';
import type { ColumnAction } from '../../../contracts/types/postgres-copy-text.ts';
import { listTables, readTables, readTypes, type TableEntry } from './catalog-query.ts';
import type { DescribedTable } from '../copy/copier-deps.ts';
import { ColumnHash } from '../../../contracts/column-hash.ts';
import { NARROW_BYTES, RowWidth } from '../stream/row-width.ts';
import type { Session } from '../session.ts';
import { identityOf, isPublished, isStreamed, ruledKeyColumn, tableSchema, type SchemaRules, type SourceTable } from './source-table.ts';
import type { NativeTypes } from './types.ts';

export type GeneratedColumns = 'none' | 'stored';

/** Tables read at one moment, with every type that they use. */
export interface CatalogReading {
  readonly tables: readonly SourceTable[];
  readonly types: NativeTypes;
  readonly generated: GeneratedColumns;
}

export class SourceCatalog {
  readonly config: SourceConfig;
  readonly publication: string;
  readonly hash: ColumnHash | null;

  constructor(config: SourceConfig, publication: string) {
    this.config = config;
    this.publication = publication;
    this.hash = config.hashKey === null ? null : new ColumnHash(config.hashKey);
  }

  /** The tables that the configuration selects, whether or not they can be captured. */
  async selected(session: Session): Promise<TableEntry[]> {
    return (await listTables(session)).filter((table) => this.config.tables(table));
  }

  async read(session: Session, oids: readonly number[]): Promise<CatalogReading> {
    const tables = await readTables(session, oids, this.publication);
    const types = await readTypes(session, tables.flatMap((table) => table.columns.map((column) => column.typeOid)));
    return { tables, types, generated: await this.generated(session) };
  }

  types(session: Session, oids: readonly number[]): Promise<NativeTypes> {
    return readTypes(session, oids);
  }

  /** Which generated columns the publication sends: none before PostgreSQL 18. */
  async generated(session: Session): Promise<GeneratedColumns> {
    if (session.version < 180_000) return 'none';
    const rows = await session.query('SELECT pubgencols FROM pg_catalog.pg_publication WHERE pubname = $1', [this.publication]);
    // There is none yet: the one that will be made sends them.
    return rows.length === 0 || rows[0]?.['pubgencols'] === 's' ? 'stored' : 'none';
  }

  rulesOf(table: Pick<SourceTable, 'namespace' | 'name'>): ColumnRules | null {
    return this.config.columns.get(tableName(table)) ?? null;
  }

  schemaRules(table: Pick<SourceTable, 'namespace' | 'name'>, reading: Pick<CatalogReading, 'types' | 'generated'>): SchemaRules {
    const { hash } = this;
    return {
      types: reading.types,
      generated: reading.generated,
      rules: this.rulesOf(table),
      hash: hash === null ? null : (value) => hash.text(value),
      hashKeyName: hash?.keyName ?? null,
    };
  }

  /** @throws TidemarkError `POSTGRES_IDENTITY`, `POSTGRES_COLUMN_RULE` */
  schema(table: SourceTable, reading: Pick<CatalogReading, 'types' | 'generated'>): TableSchema {
    return tableSchema(table, this.schemaRules(table, reading));
  }

  /**
   * @param toasted some row has a value out of line (readToasted)
   * @throws TidemarkError `POSTGRES_IDENTITY`, `POSTGRES_COLUMN_RULE`
   */
  describe(table: SourceTable, reading: CatalogReading, toasted: boolean): DescribedTable {
    const by = this.schemaRules(table, reading);
    const streamed = table.columns.filter((column) => isStreamed(column, by));
    const schema = tableSchema(table, by);
    const actions = schema.columns.map((column) => actionOf(column, by.rules?.hash.includes(column.name) === true));
    // A value that went out of line stays there when its row becomes shorter: the row's size says nothing. Where nothing
    // stands out of line, nothing does in any row.
    const width = !needsWidth(table) || !toasted ? null : new RowWidth(streamed.map((column) => column.typeOid), reading.types, NARROW_BYTES + 1);
    return { schema, actions, width, partitioned: table.partitioned, storage: table.storage };
  }

  /** True for a table that can be followed: something identifies its rows, and no rule takes that away. */
  isFollowed(table: SourceTable): boolean {
    const identity = identityOf(table);
    return identity !== null && ruledKeyColumn(table, this.rulesOf(table), identity.numbers) === null;
  }

  /** What is wrong with the configured rules of a table; null when nothing is. */
  ruleError(table: SourceTable): TidemarkError | null {
    const rules = this.rulesOf(table);
    if (rules === null) return null;
    const where = { table: tableName(table) };
    for (const name of [...rules.exclude, ...rules.hash]) {
      if (!table.columns.some((column) => column.name === name)) {
        return new TidemarkError('POSTGRES_COLUMN_RULE', `${tableName(table)} has no column ${name}`, { where });
      }
    }
    if (rules.hash.length > 0 && this.hash === null) {
      return new TidemarkError('POSTGRES_COLUMN_RULE', `columns of ${tableName(table)} are to be hashed, and there is no key to hash with`, { where });
    }
    try {
      tableSchema(table, { types: new Map(), generated: 'none', rules, hash: null, hashKeyName: null });
    } catch (error) {
      const known = asTidemarkError(error, 'INTERNAL');
      if (known.code === 'POSTGRES_COLUMN_RULE') return known;
    }
    return null;
  }
}

/** What becomes of the server's text of a column. */
export function actionOf(column: Pick<Column, 'type'>, hashed: boolean): ColumnAction {
  if (hashed) return 'hash';
  return baseType(column.type).kind === 'bytes' ? 'bytes' : 'keep';
}

/** False where out-of-line values never matter: there is no place for them, or every old row comes whole. */
export function needsWidth(table: Pick<SourceTable, 'toastable' | 'identity'>): boolean {
  return table.toastable && table.identity !== 'f';
}

/** Bounds for whole tuples of the stream; rows are wide if a column that is not sent may be of any size. */
export function tupleWidth(table: SourceTable, published: readonly number[], reading: Pick<CatalogReading, 'types' | 'generated'>): RowWidth | null {
  if (!needsWidth(table)) return null;
  const unseen = table.columns.some(
    (column) => !isPublished(column, reading.generated) && column.generated === 'stored' && isVarying(column.typeOid, reading.types),
  );
  return new RowWidth(published, reading.types, unseen ? NARROW_BYTES + 1 : 0);
}

function isVarying(typeOid: number, types: NativeTypes): boolean {
  return (types.get(typeOid)?.length ?? -1) < 0;
}

/** True for a table that can be captured. */
export function isCapturable(table: SourceTable): boolean {
  return identityOf(table) !== null;
}
