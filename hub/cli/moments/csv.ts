import { stringify } from 'csv-stringify/sync';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { CellJson } from '../../api/schemas.ts';
import { cellsOf, type RowFormatMaker } from './row-format.ts';

/**
 * As `COPY … (FORMAT csv, HEADER)` writes and reads it: SQL NULL is nothing at all, empty text is `""`; bytes are `\x` and
 * hexadecimal digits. `\.` alone is quoted, which older servers take for the end otherwise.
 */
const OPTIONS = { record_delimiter: '\n', quoted_match: [/^$/, /^\\\.$/] };

export const csvFormat: RowFormatMaker = async (shape, output) => {
  await output.write(stringify([shape.columns.map(({ name }) => name)], OPTIONS));
  return {
    rows: (lines) => output.write(stringify(lines.map((line) => cellsOf(line, shape).map(csvCell)), OPTIONS)),
    end: () => Promise.resolve(),
  };
};

function csvCell(cell: CellJson): string | null {
  if (cell === null || typeof cell === 'string') return cell;
  if ('$bytes' in cell) return `\\x${Buffer.from(cell.$bytes, 'base64').toString('hex')}`;
  throw new TidemarkError('MOMENT_VALUE', 'a value is not known: the source has left it out');
}
