import type { SinkConfig } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { fitName, type IdentifierRules } from './identifiers.ts';

/** A table's name at a relational sink. */
export interface TargetName {
  readonly schema: string;
  readonly name: string;
}

export interface NameRules {
  /** Source namespace to schema at the sink; others keep their name. */
  readonly schemas: ReadonlyMap<string, string>;
  /** The template of one table (`mirror.{table}`), null where it has none. */
  readonly templateOf: (table: Pick<TableSchema, 'namespace' | 'name'>) => string | null;
  /** What a name may be at the server; a name that it cannot have is made one. Left out: anything. */
  readonly identifiers?: IdentifierRules;
  /** Names tables by their id, whatever the rest says: a name that no change of a table's name changes. */
  readonly byId?: (tableId: number) => TargetName;
  /** True: the server keeps names without their case, so that two that differ in nothing else are one. Left out: false. */
  readonly caseless?: boolean;
}

/**
 * Where a table of the source stands at the sink: its template, else its schema's mapping, else the same name. A
 * template is `name` or `schema.name`, in which `{schema}` and `{table}` stand for the source's.
 * @throws TidemarkError `CONFIG_VALUE` when the template gives no name
 */
export function targetName(rules: NameRules, table: Pick<TableSchema, 'namespace' | 'name' | 'tableId'>): TargetName {
  const { schema, name } = casedName(rules, table);
  return rules.caseless === true ? { schema: schema.toLowerCase(), name: name.toLowerCase() } : { schema, name };
}

function casedName(rules: NameRules, table: Pick<TableSchema, 'namespace' | 'name' | 'tableId'>): TargetName {
  if (rules.byId !== undefined) return rules.byId(table.tableId);
  const fit = (text: string): string => (rules.identifiers === undefined ? text : fitName(text, rules.identifiers));
  const mapped = rules.schemas.get(table.namespace) ?? table.namespace;
  const template = rules.templateOf(table);
  if (template === null) return { schema: fit(mapped), name: fit(table.name) };
  const dot = template.indexOf('.');
  const fill = (text: string): string => text.replaceAll('{schema}', table.namespace).replaceAll('{table}', table.name);
  const name = fill(dot < 0 ? template : template.slice(dot + 1));
  const schema = dot < 0 ? mapped : fill(template.slice(0, dot));
  if (name === '' || schema === '') throw new TidemarkError('CONFIG_VALUE', `'${template}' does not name a table`);
  return { schema: fit(schema), name: fit(name) };
}

/** `schema.name`, for messages: no two tables are printed alike. */
export function printedName({ schema, name }: TargetName): string {
  return tableName({ namespace: schema, name });
}

export function sameName(a: TargetName, b: TargetName): boolean {
  return a.schema === b.schema && a.name === b.name;
}

/** The rules of a sink with the settings `schemas`, and `as` of a table. */
export function nameRules(config: SinkConfig, identifiers: IdentifierRules): NameRules {
  const schemas: unknown = config.options['schemas'];
  const entries = typeof schemas === 'object' && schemas !== null ? Object.entries(schemas) : [];
  return {
    identifiers,
    schemas: new Map(entries.map(([from, to]) => [from, String(to)])),
    templateOf: (table) => {
      const as = config.optionsOf?.(table)['as'];
      return typeof as === 'string' ? as : null;
    },
  };
}
