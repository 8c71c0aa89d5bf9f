import { type Command, Option } from 'commander';
import { MAX_WAIT_MS } from '../../api/schemas.ts';
import { durationArgument } from '../arguments.ts';
import { say, type CliContext } from '../context.ts';
import { examples, withHub, withHubOptions, type HubOptions } from '../hub-access.ts';

interface WaitOptions extends HubOptions {
  readonly at: string;
  readonly timeout: number;
}

const DEFAULT_MS = 30_000;

export function addWaitCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('wait'))
    .description('Wait until a sink has applied an offset or a position of its source, and print the offset it is at')
    .argument('<sink>', 'the sink')
    .requiredOption('--at <moment>', 'an offset or a position (lsn:0/16B3748, gtid:SET), which may be still to come; or a time, begin, horizon or end, of what the log has')
    .addOption(new Option('--timeout <duration>', 'how long to wait').argParser(durationArgument).default(DEFAULT_MS, '30s'))
    .addHelpText(
      'after',
      examples(
        'tidemark wait replica --at 120345',
        'tidemark wait replica --at lsn:$(psql "$SHOP_URL" -Atc "select pg_current_wal_insert_lsn()") --timeout 10s && psql "$REPLICA_URL"',
      ),
    )
    .action(async (sink: string, options: WaitOptions) => {
      const timeout = Math.min(options.timeout, MAX_WAIT_MS);
      const offset = await withHub(options, context, (client) => client.wait(sink, options.at, timeout, context.signal));
      await say(context, String(offset));
    });
}
