import { TABLE_HEAD, VERSION_LINE } from '../../api/moments/schemas.ts';
import { write, type CliContext } from '../context.ts';
import type { HubOptions } from '../hub-access.ts';
import { versionText } from './change-text.ts';
import { LineReader, parsedLine } from './line-reader.ts';
import { withMomentLines } from './moment-source.ts';
import { ReadProgress } from './read-progress.ts';

/** Of `tidemark history`. */
export interface HistoryOptions extends HubOptions {
  readonly key: readonly string[];
  readonly from: string;
  readonly to: string;
  readonly limit?: number;
  readonly json?: boolean;
}

/** What `tidemark history` does. @throws TidemarkError */
export async function printHistory(source: string, table: string, options: HistoryOptions, context: CliContext): Promise<void> {
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
}
