import type { Command } from 'commander';
import { say, type CliContext } from '../context.ts';
import { examples, withHub, withHubOptions, type HubOptions } from '../hub-access.ts';

export function addReloadCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('reload'))
    .description('Let the running hub read its configuration again: sources, sinks and tables that were added, changed or removed')
    .addHelpText('after', examples('tidemark reload', 'tidemark check && tidemark reload'))
    .action(async (options: HubOptions) => {
      const done = await withHub(options, context, (client) => client.reload(context.signal));
      for (const line of done.length === 0 ? ['nothing has changed'] : done) await say(context, line);
    });
}
