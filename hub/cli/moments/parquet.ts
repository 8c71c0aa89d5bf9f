import { ByteWriter, ParquetWriter, type SchemaElement } from 'hyparquet-writer';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { CellJson } from '../../api/schemas.ts';
import type { Output } from './output.ts';
import { parquetColumn, type ParquetColumn, type ParquetValue } from './parquet-values.ts';
import { cellsOf, type RowFormatMaker } from './row-format.ts';

/** A row group is written when it has so many rows, or so many characters of JSON. */
const GROUP_ROWS = 50_000;
const GROUP_LENGTH = 16 << 20;

/** Parquet, written a row group at a time: one group is in memory, and of those before it what the footer says of them. */
export function parquetFormat(asText: boolean): RowFormatMaker {
  return (shape, output) => {
    const columns = shape.columns.map((column) => parquetColumn(column, asText));
    const root: SchemaElement = { name: 'root', num_children: columns.length };
    const bytes = new ByteWriter(1 << 20);
    const writer = new ParquetWriter({ writer: bytes, schema: [root, ...columns.map(({ element }) => element)], createdBy: 'tidemark' });
    let values: (ParquetValue | null)[][] = columns.map(() => []);
    let length = 0;
    const flush = async (): Promise<void> => {
      const rows = values[0]?.length ?? 0;
      if (rows > 0) {
        const columnData = columns.map(({ element: { name } }, index) => ({ name, data: values[index] ?? [] }));
        values = columns.map(() => []);
        length = 0;
        await writer.write({ columnData, rowGroupSize: rows });
      }
      await drain(bytes, output);
    };
    return Promise.resolve({
      async rows(lines) {
        for (const line of lines) {
          for (const [index, cell] of cellsOf(line, shape).entries()) values[index]?.push(valueOf(cell, columns[index]));
          length += line.length;
          if (length >= GROUP_LENGTH || (values[0]?.length ?? 0) >= GROUP_ROWS) await flush();
        }
      },
      async end() {
        await flush();
        await writer.finish();
        await drain(bytes, output);
      },
    });
  };
}

function valueOf(cell: CellJson, column: ParquetColumn | undefined): ParquetValue | null {
  if (cell === null || column === undefined) return null;
  if (typeof cell === 'string') return column.valueOf(cell);
  if ('$bytes' in cell) {
    // Text that is no UTF-8 stands in a column of text as the bytes that it is.
    const bytes = Buffer.from(cell.$bytes, 'base64');
    if (column.element.type === 'BYTE_ARRAY') return bytes;
    return column.valueOf(bytes.toString('latin1'));
  }
  throw new TidemarkError('MOMENT_VALUE', 'a value is not known: the source has left it out');
}

/** Hands on what has been written, and forgets it. */
async function drain(bytes: ByteWriter, output: Output): Promise<void> {
  if (bytes.index === 0) return;
  const chunk = new Uint8Array(bytes.getBuffer());
  bytes.index = 0;
  await output.write(chunk);
}
