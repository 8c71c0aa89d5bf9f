import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { RowJson, ShapeJson } from '../../api/moments/schemas.ts';
import type { CellJson } from '../../api/schemas.ts';
import { jsonOf } from './line-reader.ts';
import type { Output } from './output.ts';

/** Writes the rows of a table in one format. */
export interface RowFormat {
  /** @param lines of rows, as the API gives them */
  rows(lines: readonly string[]): Promise<void>;
  /** After the last row. */
  end(): Promise<void>;
}

export type RowFormatMaker = (shape: ShapeJson, output: Output) => Promise<RowFormat>;

/** The lines as they come. */
export const ndjsonFormat: RowFormatMaker = (_shape, output) =>
  Promise.resolve({
    rows: (lines: readonly string[]) => output.write(`${lines.join('\n')}\n`),
    end: () => Promise.resolve(),
  });

/**
 * The cells of a row, in the order of the table's columns (that of a JSON object's members is another).
 * @throws TidemarkError `API_ANSWER`
 */
export function cellsOf(line: string, { columns }: ShapeJson): CellJson[] {
  const value = jsonOf(line);
  const row = isObject(value) ? value['row'] : null;
  if (!isObject(row)) throw new TidemarkError('API_ANSWER', 'a line of the answer is no row');
  return columns.map(({ name }) => checkedCell(Object.hasOwn(row, name) ? row[name] : null));
}

export function cellNamed(row: RowJson, name: string): CellJson {
  return Object.hasOwn(row, name) ? (row[name] ?? null) : null;
}

/** By hand: there are millions of them. */
function checkedCell(value: unknown): CellJson {
  if (value === null || typeof value === 'string') return value;
  if (isObject(value) && typeof value['$bytes'] === 'string') return { $bytes: value['$bytes'] };
  if (isObject(value) && value['$absent'] === true) return { $absent: true };
  throw new TidemarkError('API_ANSWER', 'a value of a row is not understood');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
