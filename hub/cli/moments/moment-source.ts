/** Where the lines of a moment come from: the hub that runs, or the folder of one that does not. */
import type { DiffQuery, HistoryQuery, TableQuery } from '../../api/moments/schemas.ts';
import type { CliContext } from '../context.ts';
import { withHub, type HubOptions } from '../hub-access.ts';

/** What is asked for, of which source. */
export type MomentRequest = { readonly source: string } & (
  | { readonly what: 'table'; readonly query: TableQuery }
  | { readonly what: 'history'; readonly query: HistoryQuery }
  | { readonly what: 'diff'; readonly query: DiffQuery }
);

/** What `use` makes of the lines. @throws TidemarkError what the request is refused with, `API_UNREACHABLE`, `ABORTED` */
export function withMomentLines<T>(options: HubOptions, context: CliContext, request: MomentRequest, use: (pieces: AsyncIterable<string>) => Promise<T>): Promise<T> {
  return withHub(
    options,
    context,
    (client) => use(client.moments(request.source, request.what, parametersOf(request.query), context.signal)),
    async (data) => {
      const { stoppedLines } = await import('./stopped-lines.ts');
      return use(stoppedLines(data, request, context));
    },
  );
}

function parametersOf(query: object): (readonly [string, string])[] {
  return Object.entries(query).flatMap(([name, value]: [string, unknown]) => {
    if (value === undefined) return [];
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    return values.map((each) => [name, String(each)] as const);
  });
}
