import { TidemarkError } from '../../../contracts/errors/error.ts';
import { TABLE_HEAD } from '../../api/moments/schemas.ts';
import type { CliContext } from '../context.ts';
import { LineReader } from './line-reader.ts';
import { withMomentLines } from './moment-source.ts';
import { openOutput } from './output.ts';
import { ReadProgress } from './read-progress.ts';
import { ndjsonFormat, type RowFormatMaker } from './row-format.ts';
import type { TableOptions } from './table-options.ts';
import { tableFormat } from './table-text.ts';
import { warnUnlessWhole } from './whole-note.ts';

/** What `tidemark table` does. @throws TidemarkError */
export async function printTable(source: string, table: string, options: TableOptions, context: CliContext): Promise<void> {
  const { asOf, where, format, output: path, limit } = options;
  if (format === 'parquet' && path === undefined && context.stdoutIsTty) {
    throw new TidemarkError('USAGE', 'Parquet is not for a terminal', { remedy: 'Name a file with `--output FILE`, or pass standard output on to another program.' });
  }
  using progress = new ReadProgress(context, path !== undefined || !context.stdoutIsTty);
  const query = { table, asOf, ...(where === undefined ? {} : { where: [...where] }), ...(limit === undefined ? {} : { limit }), ...(progress.isShown ? { progress: true } : {}) };
  await withMomentLines(options, context, { source, what: 'table', query }, async (pieces) => {
    await using reader = new LineReader(pieces, progress.show);
    const { head } = await reader.head(TABLE_HEAD);
    await warnUnlessWhole([head], context);
    await using output = await openOutput(path, context);
    const rows = await (await formatOf(options))(head, output);
    for await (const lines of reader.rows()) {
      progress.rows(lines.length);
      await rows.rows(lines);
    }
    await rows.end();
    await output.finish();
  });
}

/** The libraries of a format are loaded only for it. */
async function formatOf({ format, asText }: TableOptions): Promise<RowFormatMaker> {
  switch (format) {
    case 'table':
      return tableFormat;
    case 'ndjson':
      return ndjsonFormat;
    case 'csv':
      return (await import('./csv.ts')).csvFormat;
    case 'parquet':
      return (await import('./parquet.ts')).parquetFormat(asText === true);
  }
}
