import type { Command } from 'commander';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { exactTable, exactPattern } from '../../config/table-patterns.ts';
import { say, type CliContext } from '../context.ts';
import { examples, withHub, withHubOptions, type HubOptions } from '../hub-access.ts';

interface RecopyOptions extends HubOptions {
  readonly pastDamage?: boolean;
}

export function addSourceCommands(program: Command, context: CliContext): void {
  const group = program.command('source').description('Add or copy again a table of a source, or begin the whole source again');
  withHubOptions(group.command('add-table'))
    .description('Begin to capture a table that the configuration selects, and copy it')
    .argument('<source>', 'the source')
    .argument('<table>', 'the table, such as public.orders')
    .addHelpText('after', tableExamples('add-table'))
    .action((source: string, table: string, options: HubOptions) => tableAction('add-table', source, table, options, context));
  withHubOptions(group.command('recopy'))
    .description('Copy a table again through the log, with deletes for rows that are gone; or every table, past damage of the log')
    .argument('<source>', 'the source')
    .argument('[table]', 'the table, such as public.orders')
    .option('--past-damage', 'with the hub stopped: give up what a damaged log holds, so that the hub copies every table again')
    .addHelpText('after', `${tableExamples('recopy')}  tidemark source recopy shop --past-damage\n`)
    .action(async (source: string, table: string | undefined, options: RecopyOptions) => {
      if (options.pastDamage === true && table === undefined) {
        const { leadPastDamage } = await import('../care/lead-past-damage.ts');
        return leadPastDamage(source, options, context);
      }
      if (table === undefined || options.pastDamage === true) throw new TidemarkError('USAGE', 'name either a table or --past-damage');
      return tableAction('recopy', source, table, options, context);
    });
  withHubOptions(group.command('resync'))
    .description('Begin a source again wherever it is now: its slot is given up, a gap is recorded, every table is copied again')
    .argument('<source>', 'the source')
    .addHelpText('after', examples('tidemark source resync shop'))
    .action(async (source: string, options: HubOptions) => {
      for (const line of await withHub(options, context, (client) => client.resync(source, context.signal))) await say(context, line);
    });
}

async function tableAction(verb: 'add-table' | 'recopy', source: string, table: string, options: HubOptions, context: CliContext): Promise<void> {
  const exact = exactPattern(exactTable(table));
  for (const line of await withHub(options, context, (client) => client.tableAction(source, verb, exact, context.signal))) await say(context, line);
}

function tableExamples(verb: string): string {
  return examples(`tidemark source ${verb} shop public.orders`, `tidemark source ${verb} shop 'public."order items"'`);
}
