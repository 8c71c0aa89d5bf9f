import type { Command } from 'commander';
import { Check } from 'typebox/value';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { changelogLines } from '../../api/changelog.ts';
import { RECORD_LINE, type RecordJson } from '../../api/schemas.ts';
import { countArgument } from '../arguments.ts';
import { write, type CliContext } from '../context.ts';
import { examples, withHub, withHubOptions, type HubOptions } from '../hub-access.ts';
import { positionPrinter } from '../../print-position.ts';
import { recordText } from '../record-text.ts';

interface ReadOptions extends HubOptions {
  readonly from?: number;
  readonly limit?: number;
  readonly json?: boolean;
}

export function addReadCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('read'))
    .description('Print the changelog of a table')
    .argument('<source>', 'the source')
    .argument('<table>', 'the table, such as public.orders; a pattern such as "public.*" takes several')
    .option('--from <offset>', 'first offset (default: the beginning of the log)', countArgument)
    .option('--limit <count>', 'most records (default: all)', countArgument)
    .option('--json', 'one JSON object per line, values as canonical text')
    .addHelpText(
      'after',
      examples('tidemark read shop public.orders --limit 10', 'tidemark read shop public.orders --from 120345 --json | jq .after', `tidemark read shop 'public."order items"'`),
    )
    .action(async (source: string, table: string, options: ReadOptions) => {
      const { from, limit } = options;
      await withHub(
        options,
        context,
        async (client) => {
          const query = { table, ...(from === undefined ? {} : { from: String(from) }), ...(limit === undefined ? {} : { limit: String(limit) }) };
          await print(client.read(source, query, context.signal), options, context);
        },
        async (data) => {
          const { openStopped } = await import('../stopped-hub.ts');
          await using engine = await openStopped(data);
          if (!(await engine.sources()).includes(source)) throw new TidemarkError('SOURCE_UNKNOWN', `${data} has no log of a source ${source}`, { where: { source } });
          const log = await engine.open(source, { create: false });
          await print(changelogLines(log, { table, from, limit, printPosition: positionPrinter((await context.registry()).connectors), signal: context.signal }), options, context);
        },
      );
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
