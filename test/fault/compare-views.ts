import { tableName } from '../../contracts/schema.ts';
import type { FoundTable, TextRow, View } from './source-world.ts';

const MOST_SHOWN = 3;
const LONGEST_SHOWN = 300;

/** What `there` has and `wanted` has not, and the other way round: none where the rows are the same, whatever their order. */
export function compareRows(name: string, there: readonly TextRow[], wanted: readonly TextRow[], placeOfWanted: string): string[] {
  const [mine, theirs] = [textsOf(there), textsOf(wanted)];
  if (mine.length === theirs.length && mine.every((row, index) => row === theirs[index])) return [];
  const [inTable, inWanted] = [new Set(mine), new Set(theirs)];
  return [
    `${name}: ${mine.length} rows there, ${theirs.length} in ${placeOfWanted}`,
    ...mine.filter((row) => !inWanted.has(row)).slice(0, MOST_SHOWN).map((row) => `${name}: not in ${placeOfWanted}: ${shortened(row)}`),
    ...theirs.filter((row) => !inTable.has(row)).slice(0, MOST_SHOWN).map((row) => `${name}: only in ${placeOfWanted}: ${shortened(row)}`),
  ];
}

/** Every table of the source is at the replica, with its columns and its rows. Further columns of the replica do not count. */
export async function compareViews(source: View, replica: View, hasSameTypes: boolean): Promise<string[]> {
  const copies = await replica.tables();
  const differences: string[] = [];
  for (const table of await source.tables()) {
    const copy = copies.find(({ namespace, name }) => namespace === table.namespace && name === table.name);
    const wrong = copy === undefined ? ['the table is missing'] : columnDifferences(table, copy, hasSameTypes);
    differences.push(...wrong.map((difference) => `${tableName(table)}: ${difference}`));
    if (wrong.length > 0) continue;
    const columns = table.columns.map(({ name }) => name);
    differences.push(...compareRows(tableName(table), await replica.rows(table, columns), await source.rows(table, columns), 'the source'));
  }
  return differences;
}

function columnDifferences(table: FoundTable, copy: FoundTable, hasSameTypes: boolean): string[] {
  return table.columns.flatMap(({ name, type }) => {
    const other = copy.columns.find((column) => column.name === name);
    if (other === undefined) return [`column ${name} is missing`];
    // What fills up with blanks is no key where keys are equal only when their bytes are.
    const wanted = table.key.includes(name) ? type.replace(/^char\(/, 'varchar(') : type;
    return hasSameTypes && other.type !== type && other.type !== wanted ? [`column ${name} is ${other.type}, not ${wanted}`] : [];
  });
}

const textsOf = (rows: readonly TextRow[]): string[] => rows.map((row) => JSON.stringify(row)).toSorted();

function shortened(row: string): string {
  return row.length > LONGEST_SHOWN ? `${row.slice(0, LONGEST_SHOWN)}…` : row;
}
