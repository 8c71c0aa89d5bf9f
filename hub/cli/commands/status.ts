import type { Command } from 'commander';
import { systemClock } from '../../runtime/clock.ts';
import { positionPrinter } from '../../print-position.ts';
import { say, write, type CliContext } from '../context.ts';
import { examples, withHub, withHubOptions, type HubOptions } from '../hub-access.ts';
import { statusLines, stoppedStatusLines } from '../text/status-text.ts';

interface StatusOptions extends HubOptions {
  readonly json?: boolean;
  readonly watch?: boolean;
}

const WATCH_MS = 1000;
/** To the first line; to the end of the line; to the end of the screen. */
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';
const CLEAR_SCREEN = '\u001b[2J';

export function addStatusCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('status'))
    .description('Show sources, sinks and tables: state, offset, lag, WAL held back')
    .option('--json', 'one JSON object; with --watch one per line')
    .option('--watch', 'show it again every second, until Ctrl-C')
    .addHelpText('after', examples('tidemark status', 'tidemark status --watch', "tidemark status --json | jq '.sinks[0].lag'", 'tidemark status --http 127.0.0.1:7400'))
    .action(async (options: StatusOptions) => {
      if (options.watch !== true) return once(options, context);
      return watch(options, context);
    });
}

async function once(options: StatusOptions, context: CliContext): Promise<void> {
  const text = await statusText(options, context);
  await say(context, text);
}

async function statusText(options: StatusOptions, context: CliContext): Promise<string> {
  return withHub(
    options,
    context,
    async (client) => {
      const status = await client.status(context.signal);
      return options.json === true ? JSON.stringify({ running: true, ...status }) : statusLines(status, context.now()).join('\n');
    },
    async (data) => {
      const { stoppedStatus } = await import('../stopped/stopped-hub.ts');
      const status = await stoppedStatus(data, context.version, positionPrinter((await context.registry()).connectors));
      return options.json === true ? JSON.stringify({ running: false, ...status }) : stoppedStatusLines(status, data).join('\n');
    },
  );
}

/** Ends, without a fault, when the user asks for it. */
async function watch(options: StatusOptions, context: CliContext): Promise<void> {
  const redraws = context.stdoutIsTty && options.json !== true;
  if (redraws) await write(context.stdout, CLEAR_SCREEN);
  while (!context.signal.aborted) {
    const text = await statusText(options, context);
    await (redraws ? write(context.stdout, `${HOME}${text.replaceAll('\n', `${CLEAR_LINE}\n`)}${CLEAR_LINE}\n${CLEAR_BELOW}`) : say(context, text));
    await systemClock.sleep(WATCH_MS, context.signal).catch((reason: unknown) => {
      if (!context.signal.aborted) throw reason;
    });
  }
}
