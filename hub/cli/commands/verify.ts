import { InvalidArgumentError, type Command } from 'commander';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { parseSize } from '../../../contracts/units.ts';
import type { ReadRate } from '../../verify/pace.ts';
import type { VerifyEvent, VerifyReport, VerifyRequest } from '../../verify/report.ts';
import { note, say, write, type CliContext } from '../context.ts';
import { examples, withHub, withHubOptions, type HubOptions } from '../hub-access.ts';
import { progressText, reportLines } from '../text/verify-text.ts';

interface VerifyOptions extends HubOptions {
  readonly tables?: readonly string[];
  readonly against: 'log' | 'source';
  readonly repair?: boolean;
  readonly rate?: ReadRate;
  readonly json?: boolean;
}

/** To the beginning of the line, and what stands there is gone. */
const CLEAR_LINE = '\r\u001b[K';

export function addVerifyCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('verify'))
    .description('Compare source, log and sink row by row while writes go on; exit code 1 when a row differs')
    .argument('<sink>', 'the sink')
    .option('--tables <patterns...>', 'only these tables')
    .option('--against <place>', 'log: compare the log with the sink only, and do not read the source', placeArgument, 'source')
    .option('--repair', 'rewrite rows that differ at the sink; copy tables again whose log differs from the source')
    .option('--rate <rate>', 'read the source, and the sink, no faster than this: 10MB/s, or 5000rows/s', rateArgument)
    .option('--json', 'one JSON object: the report')
    .addHelpText(
      'after',
      examples('tidemark verify replica', 'tidemark verify replica --tables public.orders --rate 10MB/s', 'tidemark verify cache --against log', 'tidemark verify replica --repair'),
    )
    .action(async (sink: string, options: VerifyOptions) => {
      const request = requestOf(options);
      if (request.repair) await note(context, repairNotice(request));
      await withHub(
        options,
        context,
        (client) => follow(client.verify(sink, request, context.signal), options, context),
        async (data) => {
          const { verifyStopped } = await import('../stopped/verify-stopped.ts');
          await follow(verifyStopped(data, sink, request, options, context), options, context);
        },
      );
    });
}

function requestOf({ tables = [], against, repair = false, rate }: VerifyOptions): VerifyRequest {
  return { tables, against, repair, rate: rate ?? null };
}

function repairNotice({ against }: VerifyRequest): string {
  const rows = "rows that differ at the sink are rewritten by its own worker";
  return against === 'log' ? rows : `${rows}; a table whose log differs from the source is copied again, which takes as long as its first copy`;
}

async function follow(events: AsyncIterable<VerifyEvent>, { json = false }: VerifyOptions, context: CliContext): Promise<void> {
  let report: VerifyReport | null = null;
  const shows = context.stderrIsTty && !json;
  try {
    for await (const event of events) {
      if ('report' in event) report = event.report;
      else if (shows) await write(context.stderr, `${CLEAR_LINE}${progressText(event.progress)}`);
    }
  } finally {
    if (shows) await write(context.stderr, CLEAR_LINE);
  }
  if (report === null) throw new TidemarkError('API_ANSWER', 'the verification ended without a report');
  if (json) await say(context, JSON.stringify(report));
  else for (const line of reportLines(report)) await say(context, line);
  if (report.outcome !== 'equal') context.outcome.exitCode = 1;
}

function placeArgument(text: string): 'log' | 'source' {
  if (text !== 'log' && text !== 'source') throw new InvalidArgumentError('It must be log or source.');
  return text;
}

/** `10MB/s`, `5000rows/s`. */
export function rateArgument(text: string): ReadRate {
  const rows = /^([0-9]+) ?rows\/s$/.exec(text)?.[1];
  if (rows !== undefined && Number(rows) > 0) return { rowsPerSecond: Number(rows) };
  const bytes = text.endsWith('/s') ? parseSize(text.slice(0, -2)) : null;
  if (bytes === null || bytes === 0) throw new InvalidArgumentError('It must be a rate such as 10MB/s or 5000rows/s.');
  return { bytesPerSecond: bytes };
}
