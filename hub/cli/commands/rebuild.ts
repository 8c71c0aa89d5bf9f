import type { Command } from 'commander';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { ApiClient } from '../../api/client.ts';
import { errorOf } from '../../api/answers.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { RebuildAnswer, RebuildView } from '../../service.ts';
import { note, say, write, type CliContext } from '../context.ts';
import { findingLines } from '../findings.ts';
import { examples, withHub, withHubOptions, type HubOptions } from '../hub-access.ts';
import { rebuildAim, rebuildOutcome, rebuildProgress } from '../text/rebuild-text.ts';
import { shortened } from '../text/text-table.ts';

interface RebuildOptions extends HubOptions {
  readonly tables?: readonly string[];
  readonly to?: string;
  readonly fromScratch?: boolean;
  readonly cancel?: boolean;
  readonly detach?: boolean;
  readonly json?: boolean;
}

const LOOK_MS = 500;
/** How long a hub may be away, that is started again, while its rebuild is followed. */
const AWAY_MS = 60_000;
/** A longer line would be broken, and could not be drawn again. */
const WIDTH = 110;
/** To the beginning of the line, and what stands there is gone. */
const CLEAR_LINE = '\r\u001b[K';

export function addRebuildCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('rebuild'))
    .description('Fill a sink anew from the log, beside what it serves, and swap it in; the source is not asked')
    .argument('<sink>', 'the sink')
    .option('--tables <patterns...>', 'only these tables, at the offset where the sink stands')
    .option('--to <moment>', 'put the sink to an offset, a time (2026-11-01T12:00Z, -2h), a position (lsn:0/16B3748, gtid:SET), horizon or end, and pause it there')
    .option('--from-scratch', 'remove first what an earlier rebuild has filled')
    .option('--cancel', 'end the rebuild that is under way, and remove what it has made')
    .option('--detach', 'do not wait for its end')
    .option('--json', 'one JSON object per finding, and one for the end')
    .addHelpText(
      'after',
      examples('tidemark rebuild replica', 'tidemark rebuild replica --tables public.orders', 'tidemark rebuild replica --to -2h', 'tidemark rebuild replica --cancel'),
    )
    .action(async (sink: string, options: RebuildOptions) => {
      checkOptions(options);
      await withHub(options, context, (client) => (options.cancel === true ? cancel(sink, client, options.json === true, context) : rebuild(sink, options, client, context)));
    });
}

/** @throws TidemarkError `USAGE` */
function checkOptions({ cancel: cancels, tables, to, fromScratch, detach }: RebuildOptions): void {
  if (cancels === true && (tables !== undefined || to !== undefined || fromScratch === true || detach === true)) {
    throw new TidemarkError('USAGE', '--cancel stands alone');
  }
  if (tables !== undefined && to !== undefined) throw new TidemarkError('USAGE', '--to is for the whole sink: its tables stand at one offset');
}

async function cancel(sink: string, client: ApiClient, json: boolean, context: CliContext): Promise<void> {
  for (const line of await client.cancelRebuild(sink, context.signal)) await say(context, json ? JSON.stringify({ sink, what: line }) : line);
}

async function rebuild(sink: string, options: RebuildOptions, client: ApiClient, context: CliContext): Promise<void> {
  const { tables = null, to = null, fromScratch = false, detach = false, json = false } = options;
  const answer = await client.rebuild(sink, { tables, to, fromScratch }, context.signal);
  await sayFindings(sink, answer, client, json, context);
  if (answer.id === null) {
    context.outcome.exitCode = 1;
    if (!json) await note(context, `the rebuild of sink ${sink} was not begun: mend what is named as an error first`);
    return;
  }
  const how = `\`tidemark status\` shows how far it is, \`tidemark rebuild ${sink} --cancel\` ends it`;
  if (detach) {
    await (json ? say(context, JSON.stringify({ id: answer.id, to: answer.to })) : say(context, `sink ${sink} is being rebuilt: ${how}`));
    return;
  }
  const end = await follow(sink, answer.id, client, context);
  if (end === null) {
    context.outcome.exitCode = 1;
    await note(context, `the rebuild of sink ${sink} goes on: ${how}`);
    return;
  }
  if (json) await say(context, JSON.stringify(end));
  if (end.state === 'failed' && end.error !== null) {
    const { code, message, where, remedy } = end.error;
    throw errorOf({ code, what: message, where, remedy });
  }
  if (end.state !== 'done') context.outcome.exitCode = 1;
  if (!json) await say(context, rebuildOutcome(sink, end));
}

/** As `check` says them. */
async function sayFindings(sink: string, { findings }: RebuildAnswer, client: ApiClient, json: boolean, context: CliContext): Promise<void> {
  const told = findings.filter(({ severity }) => severity !== 'ok');
  if (told.length === 0) return;
  if (json) {
    for (const finding of told) await say(context, JSON.stringify({ part: 'sink', name: sink, ...finding }));
    return;
  }
  const { sinks } = await client.status(context.signal);
  const type = sinks.find(({ name }) => name === sink)?.type ?? '';
  await say(context, findingLines({ part: 'sink', name: sink, type, findings: told }).join('\n'));
}

/** Shows how far it is until it is over; null: the user has asked for the end of the command. @throws TidemarkError when the hub is gone for long */
async function follow(sink: string, id: string, client: ApiClient, context: CliContext): Promise<RebuildView | null> {
  await using line = new ProgressLine(context);
  let seenAt = systemClock.monotonic();
  while (!context.signal.aborted) {
    try {
      const view = await look(sink, client, context.signal);
      seenAt = systemClock.monotonic();
      // Another one has taken its place: this one is over, and nobody knows how.
      if (view?.id !== id) throw new TidemarkError('REBUILD_NONE', `the rebuild of sink ${sink} is not known any more`, { where: { sink } });
      if (view.state === 'done' || view.state === 'cancelled' || view.state === 'failed') return view;
      await line.show(view);
    } catch (failure) {
      if (context.signal.aborted) return null;
      const away = systemClock.monotonic() - seenAt;
      if (!(failure instanceof TidemarkError) || failure.code !== 'API_UNREACHABLE' || away > AWAY_MS) throw failure;
      await line.say('the hub does not answer: the rebuild goes on when it runs again');
    }
    await systemClock.sleep(LOOK_MS, context.signal).catch((reason: unknown) => {
      if (!context.signal.aborted) throw reason;
    });
  }
  return null;
}

async function look(sink: string, client: ApiClient, signal: AbortSignal): Promise<RebuildView | null> {
  const { sinks } = await client.status(signal);
  return sinks.find(({ name }) => name === sink)?.rebuild ?? null;
}

/** On a terminal one line that is drawn again; else a line whenever something has changed but a number. */
class ProgressLine implements AsyncDisposable {
  readonly #context: CliContext;
  #last = '';

  constructor(context: CliContext) {
    this.#context = context;
  }

  async show(view: RebuildView): Promise<void> {
    if (this.#context.stderrIsTty) await write(this.#context.stderr, `${CLEAR_LINE}${shortened(`${rebuildAim(view)}  ${rebuildProgress(view)}`, WIDTH)}`);
    else await this.say(view.what === '' ? view.phase : `${view.phase} ${view.what}`);
    this.#last = this.#context.stderrIsTty ? '' : this.#last;
  }

  async say(text: string): Promise<void> {
    if (text === this.#last) return;
    this.#last = text;
    await (this.#context.stderrIsTty ? write(this.#context.stderr, `${CLEAR_LINE}${shortened(text, WIDTH)}`) : note(this.#context, text));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#context.stderrIsTty) await write(this.#context.stderr, CLEAR_LINE);
  }
}
