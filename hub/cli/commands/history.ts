import type { Command } from 'commander';
import { MOMENT_FORMS } from '../../moments/moment.ts';
import { countArgument, listArgument } from '../arguments.ts';
import type { CliContext } from '../context.ts';
import { examples, withHubOptions } from '../hub-access.ts';
import type { HistoryOptions } from '../moments/print-history.ts';

export function addHistoryCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('history'))
    .description('Print every version of a row, oldest first')
    .argument('<source>', 'the source')
    .argument('<table>', 'the table, such as public.orders')
    .requiredOption('--key <column=value>', 'a column of the key, given again for each; of a key of one column its value alone will do', listArgument)
    .option('--from <moment>', `where to begin, with the row as it stood there: ${MOMENT_FORMS}`, 'begin')
    .option('--to <moment>', 'where to end', 'end')
    .option('--limit <count>', 'most versions (default: all)', countArgument)
    .option('--json', 'one JSON object per line, values as canonical text')
    .addHelpText(
      'after',
      examples('tidemark history shop public.orders --key 7', 'tidemark history shop public.order_lines --key order_id=7 --key line=2 --from -2d', 'tidemark history shop public.orders --key 7 --json | jq .after.status'),
    )
    .action(async (source: string, table: string, options: HistoryOptions) => {
      const { printHistory } = await import('../moments/print-history.ts');
      await printHistory(source, table, options, context);
    });
}
