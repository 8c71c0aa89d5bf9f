import { type Command, Option } from 'commander';
import { MOMENT_FORMS } from '../../moments/moment.ts';
import { countArgument, listArgument } from '../arguments.ts';
import type { CliContext } from '../context.ts';
import { examples, withHubOptions } from '../hub-access.ts';
import { FORMATS, type TableOptions } from '../moments/table-options.ts';

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
      const { printTable } = await import('../moments/print-table.ts');
      await printTable(source, table, options, context);
    });
}
