import { type Command, Option } from 'commander';
import type { CliContext } from '../context.ts';
import { examples, withConfigOption } from '../hub-access.ts';
import type { RunOptions } from '../run-hub.ts';

export function addRunCommand(program: Command, context: CliContext): void {
  withConfigOption(program.command('run'))
    .description('Run the hub: capture the sources, keep their logs, feed the sinks. SIGTERM and SIGINT end it in order; a second one at once')
    .option('--until-caught-up', 'end once every table is copied and every sink has applied what the sources had by then')
    .addOption(new Option('--log-format <format>', 'lines of the log on standard error (default: pretty on a terminal, else json)').choices(['pretty', 'json']))
    .addOption(new Option('--log-level <level>', 'least severe level that is logged').choices(['debug', 'info', 'warn', 'error']).default('info'))
    .addHelpText('after', examples('tidemark run', 'tidemark run --config shop.yaml --log-format json', 'tidemark run --until-caught-up && psql "$REPLICA_URL"'))
    .action(async (options: RunOptions) => {
      const { runHub } = await import('../run-hub.ts');
      await runHub(options, context);
    });
}
