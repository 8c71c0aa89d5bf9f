import type { Command } from 'commander';
import { exactTable, exactPattern } from '../../config/table-patterns.ts';
import { say, type CliContext } from '../context.ts';
import { examples, withHub, withHubOptions, type HubOptions } from '../hub-access.ts';

const VERBS = [
  { verb: 'add-table', does: 'Begin to capture a table that the configuration selects, and copy it' },
  { verb: 'recopy', does: 'Copy a table again through the log, with deletes for rows that are gone' },
] as const;

export function addSourceCommands(program: Command, context: CliContext): void {
  const group = program.command('source').description('Add or copy again a table of a source, or begin the whole source again');
  for (const { verb, does } of VERBS) {
    withHubOptions(group.command(verb))
      .description(does)
      .argument('<source>', 'the source')
      .argument('<table>', 'the table, such as public.orders')
      .addHelpText('after', examples(`tidemark source ${verb} shop public.orders`, `tidemark source ${verb} shop 'public."order items"'`))
      .action(async (source: string, table: string, options: HubOptions) => {
        const exact = exactPattern(exactTable(table));
        for (const line of await withHub(options, context, (client) => client.tableAction(source, verb, exact, context.signal))) await say(context, line);
      });
  }
  withHubOptions(group.command('resync'))
    .description('Begin a source again wherever it is now: its slot is given up, a gap is recorded, every table is copied again')
    .argument('<source>', 'the source')
    .addHelpText('after', examples('tidemark source resync shop'))
    .action(async (source: string, options: HubOptions) => {
      for (const line of await withHub(options, context, (client) => client.resync(source, context.signal))) await say(context, line);
    });
}
