/**
 * Rows that go from a table without a key: of each given row, as many equal ones as it is given times. The rows are put
 * into a temporary table of the same columns first, so that both sides of a comparison went through the same types.
 */
import { createHash } from 'node:crypto';
import { readU32, RECORD_HEADER } from '../../contracts/record.ts';
import type { RecordRef } from '../../contracts/sink.ts';
import { isGeometry } from '../../contracts/types/mysql-types.ts';
import { valueStatements } from './row-text.ts';
import { quoteName } from './sql.ts';
import type { PlannedColumn, TablePlan } from './table-plan.ts';
import { aside, plain, type Statement, statementLimits, type WriteRules } from './statement.ts';

/** From so many different rows on they are looked for together, in one reading of the table. */
const TOGETHER_FROM = 4;

/** A row that goes, with how many of it. */
interface Counted {
  readonly ref: RecordRef;
  times: number;
}

/** The temporary table of the rows that go, and the condition by which a row of the table is one of them. */
interface Gone {
  readonly table: string;
  readonly names: string;
  readonly same: string;
}

export function bagStatements(plan: TablePlan, refs: readonly RecordRef[], rules: WriteRules): Statement[] {
  if (refs.length === 0) return [];
  if (plan.columns.length === 0) return [plain(`DELETE FROM ${plan.target} LIMIT ${refs.length}`)];
  const same = plan.columns.map(({ target, form }) => `${comparable(ofTable(plan, target.name), { target, form })} <=> ${comparable(`s.${quoteName(target.name)}`, { target, form })}`);
  const gone: Gone = {
    table: `${quoteName(rules.ownDatabase)}.tidemark_gone`,
    names: plan.columns.map(({ target }) => quoteName(target.name)).join(', '),
    same: same.join(' AND '),
  };
  const counted = countEqual(refs);
  // Of equal rows the one that stays keeps what the replica's own columns hold: none is written anew then.
  return counted.length < TOGETHER_FROM || plan.extraColumns.length > 0 ? oneByOne(plan, counted, gone, rules) : together(plan, counted, gone, rules);
}

function oneByOne(plan: TablePlan, counted: readonly Counted[], { table, names, same }: Gone, rules: WriteRules): Statement[] {
  const rows = counted.map(({ ref }) => ref);
  return [
    aside(`DROP TEMPORARY TABLE IF EXISTS ${table}`),
    aside(`CREATE TEMPORARY TABLE ${table} (tidemark_row int NOT NULL AUTO_INCREMENT PRIMARY KEY) SELECT ${names} FROM ${plan.target} LIMIT 0`),
    ...valueStatements(rows, plan, 'before', `INSERT INTO ${table} (${names}) VALUES `, '', { ...statementLimits(rules, 1), rows: 1 }).flatMap((insert, index) => [
      plain(insert),
      plain(`DELETE FROM ${plan.target} WHERE EXISTS (SELECT 1 FROM ${table} AS s WHERE ${same}) LIMIT ${counted[index]?.times ?? 0}`),
      plain(`DELETE FROM ${table}`),
    ]),
    aside(`DROP TEMPORARY TABLE ${table}`),
  ];
}

/**
 * The table is read twice, whatever the number of rows: once to count those that are equal, once to delete them all. Those
 * of which some are to stay are then written again. A row is found by a sum over its values, which is compared by an index.
 */
function together(plan: TablePlan, counted: readonly Counted[], { table, names, same }: Gone, rules: WriteRules): Statement[] {
  const left = `${quoteName(rules.ownDatabase)}.tidemark_left`;
  const is = `s.tidemark_sum = ${sumOf(plan, (name) => ofTable(plan, name))} AND ${same}`;
  // What the server knows of a table just filled may say that all sums are the same: left to itself it reads all of it for each row.
  const joined = `${plan.target} STRAIGHT_JOIN ${table} AS s FORCE INDEX (tidemark_sum) ON ${is}`;
  const byTimes = Map.groupBy(counted, ({ times }) => times);
  return [
    aside(`DROP TEMPORARY TABLE IF EXISTS ${table}, ${left}`),
    aside(
      `CREATE TEMPORARY TABLE ${table} (tidemark_row int NOT NULL AUTO_INCREMENT PRIMARY KEY, tidemark_times int NOT NULL DEFAULT 0, tidemark_sum bigint NOT NULL DEFAULT 0, KEY tidemark_sum (tidemark_sum))
       SELECT ${names} FROM ${plan.target} LIMIT 0`,
    ),
    ...[...byTimes].flatMap(([times, some]) => [
      ...valueStatements(some.map(({ ref }) => ref), plan, 'before', `INSERT INTO ${table} (${names}) VALUES `, '', statementLimits(rules, Number.MAX_SAFE_INTEGER)).map(plain),
      plain(`UPDATE ${table} SET tidemark_times = ${times} WHERE tidemark_times = 0`),
    ]),
    plain(`UPDATE ${table} SET tidemark_sum = ${sumOf(plan, quoteName)}`),
    plain(
      `CREATE TEMPORARY TABLE ${left} (PRIMARY KEY (tidemark_row)) SELECT s.tidemark_row, COUNT(*) - MAX(s.tidemark_times) AS tidemark_more
         FROM ${joined} GROUP BY s.tidemark_row`,
    ),
    plain(`DELETE ${plan.target} FROM ${joined}`),
    plain(
      `INSERT INTO ${plan.target} (${names})
       WITH RECURSIVE again AS (
         SELECT tidemark_row, tidemark_more FROM ${left} WHERE tidemark_more > 0
         UNION ALL
         SELECT tidemark_row, tidemark_more - 1 FROM again WHERE tidemark_more > 1)
       SELECT ${plan.columns.map(({ target }) => `s.${quoteName(target.name)}`).join(', ')} FROM again STRAIGHT_JOIN ${table} AS s ON s.tidemark_row = again.tidemark_row`,
    ),
    aside(`DROP TEMPORARY TABLE ${table}, ${left}`),
  ];
}

function ofTable(plan: TablePlan, name: string): string {
  return `${plan.target}.${quoteName(name)}`;
}

/** Texts are the same only when their bytes are; documents when they read the same. */
function comparable(column: string, { target }: Pick<PlannedColumn, 'target' | 'form'>): string {
  const { charset, name } = target.type;
  if (charset !== null) return `CAST(${column} AS BINARY)`;
  return name === 'json' ? `CAST(${column} AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin` : column;
}

/** The same for equal rows, and hardly ever for others. What is no text to a function counts for nothing. */
function sumOf({ columns }: TablePlan, at: (name: string) => string): string {
  const terms = columns.flatMap(({ target }, index) => {
    if (isGeometry(target.type.name) || target.type.name === 'vector') return [];
    return [`${2 * index + 1} * IFNULL(CRC32(${at(target.name)}), 7)`];
  });
  return terms.length === 0 ? '0' : `CAST(${terms.join(' + ')} AS SIGNED)`;
}

function countEqual(refs: readonly RecordRef[]): Counted[] {
  const counts = new Map<string, Counted>();
  for (const ref of refs) {
    const { records } = ref.batch;
    const start = ref.at + RECORD_HEADER + readU32(records, ref.at + 16);
    const image = createHash('sha256').update(records.subarray(start, start + readU32(records, ref.at + 20))).digest('base64');
    const known = counts.get(image);
    if (known === undefined) counts.set(image, { ref, times: 1 });
    else known.times++;
  }
  return [...counts.values()];
}
