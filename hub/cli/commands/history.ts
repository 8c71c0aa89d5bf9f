import type { Command } from 'commander';
import { TABLE_HEAD, VERSION_LINE } from '../../api/moment-schemas.ts';
import { MOMENT_FORMS } from '../../moments/moment.ts';
import { countArgument, listArgument } from '../arguments.ts';
import { write, type CliContext } from '../context.ts';
import { examples, withHubOptions, type HubOptions } from '../hub-access.ts';
import { versionText } from '../moments/change-text.ts';
import { LineReader, parsedLine } from '../moments/line-reader.ts';
import { withMomentLines } from '../moments/moment-source.ts';
import { ReadProgress } from '../moments/read-progress.ts';

interface HistoryOptions extends HubOptions {
  readonly key: readonly string[];
  readonly from: string;
  readonly to: string;
  readonly limit?: number;
  readonly json?: boolean;
}

export function addHistoryCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('history'))
    .description('Print every version of a row, oldest first')
    .argument('<source>', 'the source')
    .argument('<table>', 'the table, such as public.orders')
    .requiredOption('--key <column=value>', 'a column of the key, given again for each; of a key of one column its value alone will do', listArgument)
    .option('--from <moment>', `where to begin, with the row as it stood there: ${MOMENT_FORMS}`, 'begin')
    .option('--to <moment>', 'where to end', 'end')
    .option('--limit <count>', 'most versions (default: all)', countArgument)
    .option('--json', 'one JSON object per line, values as canonical text')
    .addHelpText(
      'after',
      examples('tidemark history shop public.orders --key 7', 'tidemark history shop public.order_lines --key order_id=7 --key line=2 --from -2d', 'tidemark history shop public.orders --key 7 --json | jq .after.status'),
    )
    .action(async (source: string, table: string, options: HistoryOptions) => {
      const { key, from, to, limit, json } = options;
      using progress = new ReadProgress(context, !context.stdoutIsTty);
      const query = { table, key: [...key], from, to, ...(limit === undefined ? {} : { limit }), ...(progress.isShown ? { progress: true } : {}) };
      await withMomentLines(options, context, { source, what: 'history', query }, async (pieces) => {
        await using reader = new LineReader(pieces, progress.show);
        await reader.head(TABLE_HEAD);
        for await (const lines of reader.rows()) {
          progress.rows(lines.length);
          const text = json === true ? lines : lines.flatMap((line) => versionText(parsedLine(line, VERSION_LINE)));
          await write(context.stdout, `${text.join('\n')}\n`);
        }
      });
    });
}
