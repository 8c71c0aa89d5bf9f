import type { CellJson } from '../../api/schemas.ts';
import type { ColumnJson } from '../../api/moments/schemas.ts';
import { cellText } from '../text/record-text.ts';
import { grouped, shortened } from '../text/text-table.ts';
import { cellsOf, type RowFormatMaker } from './row-format.ts';

/** The columns are as wide as these first rows need. */
const MEASURED_ROWS = 200;
const WIDEST = 60;
/** Types whose values stand at the right. */
const NUMBERS: ReadonlySet<string> = new Set(['int16', 'int32', 'int64', 'uint64', 'decimal', 'float32', 'float64', 'money']);

/** For people: columns side by side, long values cut short. Holds the rows by which it measures, and no others. */
export const tableFormat: RowFormatMaker = (shape, output) => {
  const { columns } = shape;
  let measured: string[][] | null = [columns.map(({ name }) => shortened(name, WIDEST))];
  let widths: readonly number[] = [];
  let count = 0;
  const print = (rows: readonly (readonly string[])[]): Promise<void> => output.write(`${rows.map((row) => paddedLine(row, widths, columns)).join('\n')}\n`);
  const printMeasured = async (rows: readonly (readonly string[])[]): Promise<void> => {
    widths = columns.map((_, column) => Math.max(...rows.map((row) => widthOf(row[column] ?? ''))));
    measured = null;
    await print(rows);
  };
  return Promise.resolve({
    async rows(lines) {
      count += lines.length;
      const rows = lines.map((line) => cellsOf(line, shape).map(shownCell));
      if (measured === null) return print(rows);
      measured.push(...rows);
      if (measured.length > MEASURED_ROWS) await printMeasured(measured);
    },
    async end() {
      if (measured !== null) await printMeasured(measured);
      const time = shape.time === null ? '' : `, ${shape.time}`;
      await output.write(`(${grouped(count)} row${count === 1 ? '' : 's'} at offset ${shape.offset}${time})\n`);
    },
  });
};

function shownCell(cell: CellJson): string {
  return shortened(cellText(cell), WIDEST);
}

function paddedLine(row: readonly string[], widths: readonly number[], columns: readonly ColumnJson[]): string {
  const cells = row.map((cell, column) => {
    const blanks = ' '.repeat(Math.max(0, (widths[column] ?? 0) - widthOf(cell)));
    return NUMBERS.has(columns[column]?.logical.kind ?? '') ? `${blanks}${cell}` : `${cell}${blanks}`;
  });
  return cells.join('  ').trimEnd();
}

/** In code points: near enough for names and numbers. */
function widthOf(text: string): number {
  return Array.from(text).length;
}
