import type { Command } from 'commander';
import { MOMENT_FORMS } from '../../moments/moment.ts';
import { countArgument } from '../arguments.ts';
import type { CliContext } from '../context.ts';
import { examples, withHubOptions } from '../hub-access.ts';
import type { DiffOptions } from '../moments/print-diff.ts';

export function addDiffCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('diff'))
    .description('Print what changed in a table between two moments, folded: rows that were added, removed, or are others than they were')
    .argument('<source>', 'the source')
    .argument('<table>', 'the table, such as public.orders')
    .requiredOption('--from <moment>', MOMENT_FORMS)
    .option('--to <moment>', 'the later moment', 'end')
    .option('--limit <count>', 'most rows (default: all)', countArgument)
    .option('--json', 'one JSON object per line, values as canonical text')
    .addHelpText(
      'after',
      examples('tidemark diff shop public.orders --from -2h', 'tidemark diff shop public.orders --from 120345 --to 130000 --json | jq .change', 'tidemark diff shop public.prices --from 2026-11-01T12:00Z --to 2026-11-02T12:00Z'),
    )
    .action(async (source: string, table: string, options: DiffOptions) => {
      const { printDiff } = await import('../moments/print-diff.ts');
      await printDiff(source, table, options, context);
    });
}
