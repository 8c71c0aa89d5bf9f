import { type Command, Option } from 'commander';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { TABLE_HEAD } from '../../api/moment-schemas.ts';
import { MOMENT_FORMS } from '../../moments/moment.ts';
import { countArgument, listArgument } from '../arguments.ts';
import type { CliContext } from '../context.ts';
import { examples, withHubOptions, type HubOptions } from '../hub-access.ts';
import { warnUnlessWhole } from '../moments/whole-note.ts';
import { LineReader } from '../moments/line-reader.ts';
import { withMomentLines } from '../moments/moment-source.ts';
import { openOutput } from '../moments/output.ts';
import { ReadProgress } from '../moments/read-progress.ts';
import { ndjsonFormat, type RowFormatMaker } from '../moments/row-format.ts';
import { tableFormat } from '../moments/table-text.ts';

const FORMATS = ['table', 'ndjson', 'csv', 'parquet'] as const;

interface TableOptions extends HubOptions {
  readonly asOf: string;
  readonly where?: readonly string[];
  readonly format: (typeof FORMATS)[number];
  readonly output?: string;
  readonly limit?: number;
  readonly asText?: boolean;
}

export function addTableCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('table'))
    .description('Print a table as it was at a moment')
    .argument('<source>', 'the source')
    .argument('<table>', 'the table, such as public.orders')
    .option('--as-of <moment>', MOMENT_FORMS, 'end')
    .option('--where <column=value>', 'only rows with this value; with the whole key one row is looked up (may be given again)', listArgument)
    .addOption(new Option('--format <format>', 'how rows are written').choices(FORMATS).default('table'))
    .option('--output <file>', 'write to this file, which is there only once it is whole')
    .option('--limit <count>', 'most rows (default: all)', countArgument)
    .option('--as-text', 'in Parquet every column as its canonical text')
    .addHelpText(
      'after',
      examples(
        'tidemark table shop public.orders --as-of 2026-11-01T12:00Z --limit 20',
        'tidemark table shop public.orders --as-of -2h --where id=7',
        'tidemark table shop public.orders --as-of 120345 --format parquet --output orders.parquet',
      ),
    )
    .action(async (source: string, table: string, options: TableOptions) => {
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
      return (await import('../moments/csv.ts')).csvFormat;
    case 'parquet':
      return (await import('../moments/parquet.ts')).parquetFormat(asText === true);
  }
}
