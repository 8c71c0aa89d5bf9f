import type { Command } from 'commander';
import { CHANGE_LINE, DIFF_HEAD } from '../../api/moment-schemas.ts';
import { MOMENT_FORMS } from '../../moments/moment.ts';
import { countArgument } from '../arguments.ts';
import { say, write, type CliContext } from '../context.ts';
import { examples, withHubOptions, type HubOptions } from '../hub-access.ts';
import { changeText, diffHeading, diffSummary } from '../moments/change-text.ts';
import { warnUnlessWhole } from '../moments/whole-note.ts';
import { LineReader, parsedLine } from '../moments/line-reader.ts';
import { withMomentLines } from '../moments/moment-source.ts';
import { ReadProgress } from '../moments/read-progress.ts';

interface DiffOptions extends HubOptions {
  readonly from: string;
  readonly to: string;
  readonly limit?: number;
  readonly json?: boolean;
}

export function addDiffCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('diff'))
    .description('Print what changed in a table between two moments, folded: rows that were added, removed, or are others than they were')
    .argument('<source>', 'the source')
    .argument('<table>', 'the table, such as public.orders')
    .requiredOption('--from <moment>', MOMENT_FORMS)
    .option('--to <moment>', 'the later moment', 'end')
    .option('--limit <count>', 'most rows (default: all)', countArgument)
    .option('--json', 'one JSON object per line, values as canonical text')
    .addHelpText(
      'after',
      examples('tidemark diff shop public.orders --from -2h', 'tidemark diff shop public.orders --from 120345 --to 130000 --json | jq .change', 'tidemark diff shop public.prices --from 2026-11-01T12:00Z --to 2026-11-02T12:00Z'),
    )
    .action(async (source: string, table: string, options: DiffOptions) => {
      const { from, to, limit, json } = options;
      using progress = new ReadProgress(context, !context.stdoutIsTty);
      const query = { table, from, to, ...(limit === undefined ? {} : { limit }), ...(progress.isShown ? { progress: true } : {}) };
      await withMomentLines(options, context, { source, what: 'diff', query }, async (pieces) => {
        await using reader = new LineReader(pieces, progress.show);
        const { head } = await reader.head(DIFF_HEAD);
        await warnUnlessWhole([head.from, head.to], context);
        if (json !== true) await write(context.stdout, `${diffHeading(head).join('\n')}\n`);
        for await (const lines of reader.rows()) {
          progress.rows(lines.length);
          const text = json === true ? lines : lines.flatMap((line) => changeText(parsedLine(line, CHANGE_LINE), head));
          await write(context.stdout, `${text.join('\n')}\n`);
        }
        if (json !== true) await say(context, diffSummary(reader.end));
      });
    });
}
