import type { CellJson } from '../../api/schemas.ts';
import { ROW_LINE, type RowJson, type ShapeJson } from '../../api/moment-schemas.ts';
import { parsedLine } from './line-reader.ts';
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

/** The cells of a row, in the order of the table's columns (that of a JSON object's members is another). */
export function cellsOf(line: string, { columns }: ShapeJson): CellJson[] {
  const { row } = parsedLine(line, ROW_LINE);
  return columns.map(({ name }) => cellNamed(row, name));
}

export function cellNamed(row: RowJson, name: string): CellJson {
  return Object.hasOwn(row, name) ? (row[name] ?? null) : null;
}
