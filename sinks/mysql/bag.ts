/**
 * Rows that go from a table without a key: of each given row, as many equal ones as it is given times. The rows are put
 * into a temporary table of the same columns first, so that both sides of a comparison went through the same types.
 */
import { createHash } from 'node:crypto';
import { readU32, RECORD_HEADER } from '../../contracts/record.ts';
import type { RecordRef } from '../../contracts/sink.ts';
import { valueStatements } from './row-text.ts';
import { quoteName } from './sql.ts';
import type { PlannedColumn, TablePlan } from './table-plan.ts';
import { aside, plain, type Statement, statementLimits, type WriteRules } from './statement.ts';

export function bagStatements(plan: TablePlan, refs: readonly RecordRef[], rules: WriteRules): Statement[] {
  if (refs.length === 0) return [];
  if (plan.columns.length === 0) return [plain(`DELETE FROM ${plan.target} LIMIT ${refs.length}`)];
  const gone = `${quoteName(rules.ownDatabase)}.tidemark_gone`;
  const names = plan.columns.map(({ target }) => quoteName(target.name));
  const counted = countEqual(refs);
  const same = plan.columns.map(({ target, form }) => `${comparable(`${plan.target}.${quoteName(target.name)}`, { target, form })} <=> ${comparable(`s.${quoteName(target.name)}`, { target, form })}`);
  const rows = counted.map(({ ref }) => ref);
  return [
    aside(`DROP TEMPORARY TABLE IF EXISTS ${gone}`),
    aside(`CREATE TEMPORARY TABLE ${gone} (tidemark_row int NOT NULL AUTO_INCREMENT PRIMARY KEY) SELECT ${names.join(', ')} FROM ${plan.target} LIMIT 0`),
    ...valueStatements(rows, plan, 'before', `INSERT INTO ${gone} (${names.join(', ')}) VALUES `, '', { ...statementLimits(rules, 1), rows: 1 }).flatMap((insert, index) => [
      plain(insert),
      plain(`DELETE FROM ${plan.target} WHERE EXISTS (SELECT 1 FROM ${gone} AS s WHERE ${same.join(' AND ')}) LIMIT ${counted[index]?.times ?? 0}`),
      plain(`DELETE FROM ${gone}`),
    ]),
    aside(`DROP TEMPORARY TABLE ${gone}`),
  ];
}

/** Texts are the same only when their bytes are; documents when they read the same. */
function comparable(column: string, { target }: Pick<PlannedColumn, 'target' | 'form'>): string {
  const { charset, name } = target.type;
  if (charset !== null) return `CAST(${column} AS BINARY)`;
  return name === 'json' ? `CAST(${column} AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin` : column;
}

function countEqual(refs: readonly RecordRef[]): { readonly ref: RecordRef; times: number }[] {
  const counts = new Map<string, { readonly ref: RecordRef; times: number }>();
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
