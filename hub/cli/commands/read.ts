import type { Command } from 'commander';
import { Check } from 'typebox/value';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { RECORD_LINE, type RecordJson } from '../../api/schemas.ts';
import { MOMENT_FORMS } from '../../moments/moment.ts';
import { countArgument } from '../arguments.ts';
import { write, type CliContext } from '../context.ts';
import { examples, withHub, withHubOptions, type HubOptions } from '../hub-access.ts';
import { recordText } from '../text/record-text.ts';

interface ReadOptions extends HubOptions {
  readonly from?: string;
  readonly to?: string;
  readonly follow?: boolean;
  readonly limit?: number;
  readonly json?: boolean;
}

export function addReadCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('read'))
    .description('Print the changelog of a table')
    .argument('<source>', 'the source')
    .argument('<table>', 'the table, such as public.orders; a pattern such as "public.*" takes several')
    .option('--from <moment>', `first offset; or a moment, behind which the first record stands: ${MOMENT_FORMS}`, 'begin')
    .option('--to <moment>', 'last offset; or a moment, up to which records stand (default: the end)')
    .option('--follow', 'at the end wait for more, until interrupted or `--to` is reached')
    .option('--limit <count>', 'most records (default: all)', countArgument)
    .option('--json', 'one JSON object per line, values as canonical text')
    .addHelpText(
      'after',
      examples('tidemark read shop public.orders --limit 10', 'tidemark read shop public.orders --from 120345 --json | jq .after', `tidemark read shop 'public."order items"' --from -2h`, 'tidemark read shop "public.*" --from end --follow'),
    )
    .action(async (source: string, table: string, options: ReadOptions) => {
      const { from, to, follow, limit } = options;
      const named = { table, ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
      try {
        await withHub(
          options,
          context,
          async (client) => {
            const query = { ...named, ...(follow === true ? { follow: 'true' } : {}), ...(limit === undefined ? {} : { limit: String(limit) }) };
            await print(client.read(source, query, context.signal), options, context);
          },
          // Where no hub runs nothing more comes.
          follow === true ? undefined : async (data) => {
            const { stoppedChangelog } = await import('../stopped/stopped-changelog.ts');
            await print(stoppedChangelog(data, source, { ...named, limit }, context), options, context);
          },
        );
      } catch (failure) {
        // Being interrupted is how following ends.
        if (follow !== true || !context.signal.aborted) throw failure;
      }
    });
}

async function print(pieces: AsyncIterable<string>, options: ReadOptions, context: CliContext): Promise<void> {
  if (options.json === true) {
    for await (const piece of pieces) await write(context.stdout, piece);
    return;
  }
  for await (const piece of pieces) {
    const lines = piece.split('\n').slice(0, -1);
    await write(context.stdout, `${lines.flatMap((line) => recordText(parsed(line))).join('\n')}\n`);
  }
}

function parsed(line: string): RecordJson {
  const value: unknown = JSON.parse(line);
  if (!Check(RECORD_LINE, value)) throw new TidemarkError('API_ANSWER', 'a record of the changelog is not understood');
  return value;
}
