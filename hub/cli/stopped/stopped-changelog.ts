import { changelogLines } from '../../api/changelog/changelog.ts';
import { readRange } from '../../api/changelog/named-offsets.ts';
import { positionPrinter } from '../../print-position.ts';
import type { CliContext } from '../context.ts';
import { openStopped, stoppedLog } from './stopped-hub.ts';

export interface ChangelogQuery {
  readonly table: string;
  readonly from?: string;
  readonly to?: string;
  readonly limit?: number | undefined;
}

/** The changelog as the hub of this folder would give it, made here. */
export async function* stoppedChangelog(data: string, source: string, { table, from, to, limit }: ChangelogQuery, context: CliContext): AsyncGenerator<string, void, void> {
  await using engine = await openStopped(data);
  const log = await stoppedLog(engine, data, source);
  const { connectors } = await context.registry();
  const { signal } = context;
  const range = await readRange(log, { from, to }, { codecs: connectors.map(({ positions }) => positions), now: context.now(), signal });
  yield* changelogLines(log, { table, ...range, limit, printPosition: positionPrinter(connectors), signal });
}
