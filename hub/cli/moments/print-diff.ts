import { CHANGE_LINE, DIFF_HEAD } from '../../api/moments/schemas.ts';
import { say, write, type CliContext } from '../context.ts';
import type { HubOptions } from '../hub-access.ts';
import { changeText, diffHeading, diffSummary } from './change-text.ts';
import { LineReader, parsedLine } from './line-reader.ts';
import { withMomentLines } from './moment-source.ts';
import { ReadProgress } from './read-progress.ts';
import { warnUnlessWhole } from './whole-note.ts';

/** Of `tidemark diff`. */
export interface DiffOptions extends HubOptions {
  readonly from: string;
  readonly to: string;
  readonly limit?: number;
  readonly json?: boolean;
}

/** What `tidemark diff` does. @throws TidemarkError */
export async function printDiff(source: string, table: string, options: DiffOptions, context: CliContext): Promise<void> {
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
}
