/** The statements that write one table's net change, as bytes that are ready to be sent. */
import type { FoldedTable, RecordRef } from '../../contracts/sink.ts';
import { isAtLeast } from '../../contracts/types/mysql-version.ts';
import type { ApplyMode } from '../relational/apply-mode.ts';
import { chunks, type ChunkLimits } from '../relational/chunks.ts';
import { inKeyOrder } from '../relational/key-order.ts';
import { bagStatements } from './bag.ts';
import { keyStatements, loadRows, valueStatements } from './row-text.ts';
import { quoteName } from './sql.ts';
import { aside, plain, type Statement, statementLimits, type WriteRules } from './statement.ts';
import type { TablePlan } from './table-plan.ts';

const LOAD_LIMITS: ChunkLimits = { rows: 1 << 20, bytes: 4 << 20 };
const MOST_KEYS = 2_000;
/** Conditions, where a list of composite keys is no look-up by an index. */
const MOST_CONDITIONS = 500;
/** Below this many rows a statement with the rows in it is quicker than a load. */
const LOAD_FROM_ROWS = 16;

/** What `mode` says. The table is emptied first where the change says so. */
export function tableStatements(plan: TablePlan, change: FoldedTable, mode: ApplyMode, rules: WriteRules): Statement[] {
  const { deletes, upserts, inserts } = change;
  const empty = change.truncate ? [plain(`DELETE FROM ${plan.target}`)] : [];
  if (!plan.keyed) {
    const verb = mode === 'clear' ? 'REPLACE' : 'INSERT';
    return [...empty, ...bagStatements(plan, deletes, rules), ...rowsIn(plan, upserts, verb, rules), ...rowsIn(plan, inserts, verb, rules)];
  }
  switch (mode) {
    case 'optimistic':
    case 'upsert':
      return [...empty, ...removeKeys(plan, deletes, rules), ...upsertRows(plan, upserts, rules), ...rowsIn(plan, inserts, 'INSERT', rules)];
    case 'replace':
    case 'clear':
      return [...empty, ...replaceRows(plan, change, mode === 'clear' ? 'REPLACE' : 'INSERT', rules)];
  }
}

/** Every touched key goes, every final image comes; what the replica's own columns held is put back. */
function replaceRows(plan: TablePlan, { deletes, upserts, inserts }: FoldedTable, verb: 'INSERT' | 'REPLACE', rules: WriteRules): Statement[] {
  const keep = plan.extraColumns.length > 0 && upserts.length > 0;
  return [
    ...removeKeys(plan, deletes, rules),
    ...(keep ? stashExtras(plan, upserts, rules) : []),
    ...removeKeys(plan, upserts, rules),
    ...removeKeys(plan, inserts, rules),
    ...rowsIn(plan, upserts, verb, rules),
    ...rowsIn(plan, inserts, verb, rules),
    ...(keep ? restoreExtras(plan, rules) : []),
  ];
}

function removeKeys(plan: TablePlan, refs: readonly RecordRef[], rules: WriteRules): Statement[] {
  if (refs.length === 0) return [];
  return byKeys(plan, inKeyOrder(refs, plan.schema), `DELETE FROM ${plan.target} WHERE`, '', rules);
}

/** Statements over the rows with these keys. */
function byKeys(plan: TablePlan, refs: readonly RecordRef[], head: string, tail: string, rules: WriteRules): Statement[] {
  const columns = plan.key.map(({ target }) => quoteName(target.name));
  const [only] = columns;
  // MariaDB looks a list of composite keys up by reading the whole table.
  const asConditions = columns.length > 1 && rules.version.flavor === 'mariadb';
  const limits = statementLimits(rules, asConditions ? MOST_CONDITIONS : MOST_KEYS);
  if (!asConditions) return keyStatements(refs, plan, `${head} ${columns.length === 1 ? only : `(${columns.join(', ')})`} IN `, tail, limits, null).map(plain);
  return keyStatements(refs, plan, `${head} `, tail, limits, columns).map(plain);
}

function upsertRows(plan: TablePlan, refs: readonly RecordRef[], rules: WriteRules): Statement[] {
  if (refs.length === 0) return [];
  const ordered = inKeyOrder(refs, plan.schema);
  if (plan.extraColumns.length === 0) return rowsIn(plan, ordered, 'REPLACE', rules);
  // MySQL warns of the older form, MariaDB knows no other.
  const hasAlias = rules.version.flavor === 'mysql' && isAtLeast(rules.version, 8, 0, 20);
  const isKey = new Set(plan.key.map(({ target }) => target.name));
  const changed = plan.columns.filter(({ target }) => !isKey.has(target.name)).map(({ target }) => quoteName(target.name));
  const sets = (changed.length === 0 ? plan.key.map(({ target }) => quoteName(target.name)) : changed).map((name) => `${name} = ${hasAlias ? `tidemark_new.${name}` : `VALUES(${name})`}`);
  return valueStatements(ordered, plan, 'after', insertHead(plan, 'INSERT'), `${hasAlias ? ' AS tidemark_new' : ''} ON DUPLICATE KEY UPDATE ${sets.join(', ')}`, statementLimits(rules, MOST_KEYS)).map(plain);
}

/**
 * INSERT fails at a row that is in the way; REPLACE removes it. Where no index but the key's is unique, the row in the way
 * is the row itself. A load without REPLACE would leave out what is in the way, and what does not fit, without a word.
 */
function rowsIn(plan: TablePlan, refs: readonly RecordRef[], verb: 'INSERT' | 'REPLACE', rules: WriteRules): Statement[] {
  if (refs.length === 0) return [];
  const isSafe = verb === 'REPLACE' || plan.isSoleUnique || plan.table.indexes.every(({ unique }) => !unique);
  if (rules.loadData && isSafe && plan.columns.length > 0 && refs.length >= LOAD_FROM_ROWS) {
    return [loadStatement(plan, chunks(refs, LOAD_LIMITS).map((chunk) => loadRows(chunk, plan)))];
  }
  return valueStatements(refs, plan, 'after', insertHead(plan, verb), '', statementLimits(rules, Number.MAX_SAFE_INTEGER)).map(plain);
}

/** @param data rows as `loadRows` makes them */
export function loadStatement(plan: TablePlan, data: readonly Buffer[]): Statement {
  return { sql: `LOAD DATA LOCAL INFILE 'tidemark' REPLACE ${plan.load}`, data, mayWarn: false };
}

export function insertHead(plan: TablePlan, verb: 'INSERT' | 'REPLACE'): string {
  return `${verb} INTO ${plan.target} (${plan.columns.map(({ target }) => quoteName(target.name)).join(', ')}) VALUES `;
}

function stashTable({ ownDatabase }: WriteRules): string {
  return `${quoteName(ownDatabase)}.tidemark_extras`;
}

/** Keeps the replica's own columns of the rows that are about to be deleted and inserted again. */
function stashExtras(plan: TablePlan, refs: readonly RecordRef[], rules: WriteRules): Statement[] {
  const columns = [...plan.key.map(({ target }) => target), ...plan.extraColumns].map(({ name }) => quoteName(name)).join(', ');
  const stash = stashTable(rules);
  return [
    aside(`DROP TEMPORARY TABLE IF EXISTS ${stash}`),
    aside(`CREATE TEMPORARY TABLE ${stash} (tidemark_row int NOT NULL AUTO_INCREMENT PRIMARY KEY) SELECT ${columns} FROM ${plan.target} LIMIT 0`),
    ...byKeys(plan, refs, `INSERT INTO ${stash} (${columns}) SELECT ${columns} FROM ${plan.target} WHERE`, '', rules),
  ];
}

function restoreExtras(plan: TablePlan, rules: WriteRules): Statement[] {
  const stash = stashTable(rules);
  const timed = plan.table.columns.filter((column) => column.timed && !plan.extraColumns.includes(column));
  const sets = [...plan.extraColumns.map(({ name }) => `t.${quoteName(name)} = x.${quoteName(name)}`), ...timed.map(({ name }) => `t.${quoteName(name)} = t.${quoteName(name)}`)].join(', ');
  const same = plan.key.map(({ target }) => `t.${quoteName(target.name)} = x.${quoteName(target.name)}`).join(' AND ');
  return [plain(`UPDATE ${stash} AS x STRAIGHT_JOIN ${plan.target} AS t ON ${same} SET ${sets}`), aside(`DROP TEMPORARY TABLE ${stash}`)];
}
