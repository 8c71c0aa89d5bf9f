import type { Command } from 'commander';
import { say, type CliContext } from '../context.ts';
import { examples, withHub, withHubOptions, type HubOptions } from '../hub-access.ts';

const VERBS = [
  { verb: 'pause', does: 'Stop applying at the next boundary, until it is resumed; the log goes on' },
  { verb: 'resume', does: 'Go on after a pause, from the checkpoint in the sink' },
  { verb: 'retry', does: 'Try a failed sink again now, and its open dead letters with the current rows' },
] as const;

export function addSinkCommands(program: Command, context: CliContext): void {
  const group = program.command('sink').description('Pause, resume or retry a sink');
  for (const { verb, does } of VERBS) {
    withHubOptions(group.command(verb))
      .description(does)
      .argument('<sink>', 'the sink')
      .addHelpText('after', examples(`tidemark sink ${verb} replica`))
      .action(async (sink: string, options: HubOptions) => {
        for (const line of await withHub(options, context, (client) => client.sinkAction(sink, verb, context.signal))) await say(context, line);
      });
  }
}
