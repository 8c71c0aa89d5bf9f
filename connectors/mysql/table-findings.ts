/** What `check` says of the tables that the configuration selects. */
import type { SourceConfig } from '../../contracts/config.ts';
import type { TidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import { tableName } from '../../contracts/schema.ts';
import { listCascades, listTables, type Cascade } from './catalog/catalog-query.ts';
import { readTables } from './catalog/catalog-reading.ts';
import { typeOfColumn } from './catalog/column-type.ts';
import { keyOf } from './catalog/row-key.ts';
import { SourceTables } from './catalog/source-tables.ts';
import type { TableReading, TableRef } from './catalog/table-reading.ts';
import type { ServerIdentity } from './identity.ts';
import type { MysqlOptions } from './options.ts';
import { quoteTable } from './quote.ts';
import type { Session } from './session.ts';
import { whyVolatile } from './requirements.ts';
import { error, logsCascades, ok, warning } from './setting-findings.ts';

/** Findings of one kind that are listed one by one; what is above is summed up, so that ten thousand tables can be read. */
const MOST_OF_A_KIND = 20;

export interface TableFindings {
  readonly findings: Finding[];
  /** Databases of the selected tables. */
  readonly namespaces: ReadonlySet<string>;
}

export async function tableFindings(session: Session, identity: ServerIdentity, config: SourceConfig, options: MysqlOptions, user: string): Promise<TableFindings> {
  const selected = (await listTables(session)).filter((table) => config.tables(table));
  const namespaces = new Set(selected.map(({ namespace }) => namespace));
  if (selected.length === 0) {
    const findings = [error('tables', `no table that ${user} can see matches ${config.tablePatterns.join(', ')}`, 'Correct `tables` of the source, or GRANT SELECT on them')];
    return { findings: [...findings, ...missingRules(config, new Set())], namespaces };
  }
  const { tables, unclear } = await readTables(session, selected);
  const cascades = logsCascades(identity) ? [] : await listCascades(session, [...namespaces]);
  const catalog = new SourceTables(config);
  const found = [ok('tables', `${selected.length} tables are selected`)];
  for (const table of tables) {
    found.push(...shapeFindings(table, user));
    const rule = catalog.ruleError(table, table.shape, identity.version.flavor);
    if (rule !== null) found.push(error('column-rule', rule.message, rule.remedy, tableName(table)));
  }
  for (const { table, error: why } of unclear) found.push(unclearFinding(table, why, user));
  found.push(...cascadeFindings(tables, cascades, options));
  found.push(...missingRules(config, new Set(selected.map(tableName))));
  return { findings: summed(found), namespaces };
}

function unclearFinding(table: TableRef, why: TidemarkError, user: string): Finding {
  const name = tableName(table);
  if (why.code === 'MYSQL_ACCESS') return error('privilege', `${user} may not see the definition of ${name}: ${why.message}`, `GRANT SELECT ON ${quoteTable(table)} TO ${user}`, name);
  return error('definition', why.message, `Leave it out with "!${name}", and report its SHOW CREATE TABLE`, name);
}

function shapeFindings(table: TableReading, user: string): Finding[] {
  const name = tableName(table);
  const { shape } = table;
  const findings: Finding[] = [];
  if (table.unreadable.length > 0) findings.push(error('privilege', `${user} may not read every column of ${name}`, `GRANT SELECT ON ${quoteTable(table)} TO ${user}`, name));
  findings.push(...keyFindings(table), ...engineFindings(table));
  if (shape.systemVersioned) {
    findings.push(warning('versioned', `${name} keeps its past rows (system versioning): only its current rows are captured`, `Leave it out with "!${name}" where its past matters`, name));
  }
  const unknown = shape.columns.filter((column) => typeOfColumn(column).name === 'other').map((column) => column.name);
  if (unknown.length > 0) findings.push(warning('column-type', `${name} has columns of types that are not known: ${unknown.join(', ')}`, `Leave them out by \`columns\` of the source`, name));
  return findings;
}

function keyFindings(table: TableReading): Finding[] {
  const { shape } = table;
  if (keyOf(shape).kind !== 'none') return [];
  const name = tableName(table);
  const prefix = shape.keys.some(({ kind, parts }) => kind !== 'index' && parts.some(({ length }) => length !== null)) ? ' (an index over the beginning of a column is none)' : '';
  return [warning('key', `${name} has no primary key and no unique index over columns that are never NULL${prefix}: equal rows are told apart by their number only, and its copy cannot be resumed`,
    `ALTER TABLE ${quoteTable(table)} ADD PRIMARY KEY (…)`, name)];
}

/** Engines with transactions, whose rolled back statements leave nothing in the binlog. */
const TRANSACTIONAL = new Set(['innodb', 'rocksdb', 'tokudb', 'ndbcluster', 'ndb']);

function engineFindings(table: TableReading): Finding[] {
  const name = tableName(table);
  const engine = table.engine.toLowerCase();
  if (TRANSACTIONAL.has(engine)) return [];
  const remedy = `ALTER TABLE ${quoteTable(table)} ENGINE = InnoDB; or leave it out with "!${name}"`;
  const why = whyVolatile(table);
  if (why !== null) return [error('engine', `${name} ${why}`, remedy, name)];
  return [warning('engine', `${name} is of the engine ${table.engine}, which has no transactions: a copy may see a statement that has come half way`, remedy, name)];
}

function cascadeFindings(tables: readonly TableReading[], cascades: readonly Cascade[], options: MysqlOptions): Finding[] {
  const names = new Set(tables.map(tableName));
  return cascades.filter((cascade) => names.has(tableName(cascade))).map((cascade) => {
    const name = tableName(cascade);
    const what = `the foreign key ${cascade.constraint} of ${name} to ${cascade.parent} has ${cascade.actions.join(' and ')}, whose changes the server does not write into its binlog`;
    if (options.acceptCascades.includes(name)) return warning('cascade', `${what}: accepted, ${name} is not exact`, 'Copy the table again from time to time', name);
    return error('cascade', what,
      `ALTER TABLE ${quoteTable(cascade)} DROP FOREIGN KEY \`${cascade.constraint.replaceAll('`', '``')}\`, and add it without the action; or leave the table out with "!${name}"; or accept it by accept_cascades`, name);
  });
}

function missingRules(config: SourceConfig, present: ReadonlySet<string>): Finding[] {
  return [...config.columns.keys()].filter((name) => !present.has(name)).map((name) =>
    error('column-rule', `there are column rules for ${name}, which is not captured`, 'Correct `columns` of the source', name));
}

function summed(findings: readonly Finding[]): Finding[] {
  const kinds = Map.groupBy(findings, ({ code, severity }) => `${severity} ${code}`);
  return [...kinds.values()].flatMap((some) => {
    const [first] = some;
    if (first === undefined || some.length <= MOST_OF_A_KIND) return some;
    const rest = some.length - MOST_OF_A_KIND;
    return [...some.slice(0, MOST_OF_A_KIND), { severity: first.severity, code: first.code, what: `the same of ${rest} more tables`, remedy: 'As above' }];
  });
}
