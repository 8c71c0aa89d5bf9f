import cliProgress from 'cli-progress';
import type { Command } from 'commander';
import { Check } from 'typebox/value';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { formatSize } from '../../../contracts/units.ts';
import { COMPACT_LINE, type CompactLine } from '../../api/compact/schemas.ts';
import { MOMENT_FORMS } from '../../moments/moment.ts';
import { say, type CliContext } from '../context.ts';
import { examples, withHub, withHubOptions, type HubOptions } from '../hub-access.ts';

interface CompactOptions extends HubOptions {
  readonly to?: string;
  readonly json?: boolean;
}

type Progress = Extract<CompactLine, { progress: unknown }>['progress'];
type Done = Extract<CompactLine, { done: unknown }>['done'];

export function addCompactCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('compact'))
    .description("Fold a source's history into its base now: the horizon moves; Ctrl-C ends it after the last whole step")
    .argument('<source>', 'the source')
    .option('--to <moment>', `up to there (default: all of it): ${MOMENT_FORMS}`)
    .option('--json', 'one JSON object per line: progress, then what was done')
    .addHelpText('after', examples('tidemark compact shop', 'tidemark compact shop --to -2d', 'tidemark compact shop --to 120345'))
    .action(async (source: string, options: CompactOptions) => {
      await withHub(options, context, async (client) => follow(client.compact(source, options.to ?? null, context.signal), source, options, context));
    });
}

async function follow(pieces: AsyncIterable<string>, source: string, options: CompactOptions, context: CliContext): Promise<void> {
  const bar = context.stderrIsTty && options.json !== true ? new Bar(context) : null;
  try {
    for await (const piece of pieces) {
      for (const text of piece.split('\n').slice(0, -1)) {
        const line = parsed(text);
        if ('progress' in line) bar?.show(line.progress);
        else bar?.end();
        if (options.json === true) await say(context, text);
        else if ('done' in line) for (const sentence of doneLines(source, line.done)) await say(context, sentence);
      }
    }
  } finally {
    bar?.end();
  }
}

/** What has been done, for people. */
export function doneLines(source: string, { from, horizon, to, hold }: Done): string[] {
  const moved = horizon > from ? `the horizon of ${source} has moved from ${from} to ${horizon}` : `the horizon of ${source} stays at ${horizon}`;
  if (horizon >= to) return [moved];
  if (hold === null) return [moved, `it comes no nearer to ${to}: whole segments are folded, and the next one ends behind it`];
  const who = { reader: 'a reader of the log', lease: `the lease ${hold.name}`, copy: `the copy of ${hold.name}` }[hold.by];
  return [moved, `it does not pass offset ${hold.offset} on the way to ${to}: ${who} needs what follows`];
}

class Bar {
  readonly #bar: cliProgress.SingleBar;
  #isShown = false;

  constructor(context: CliContext) {
    this.#bar = new cliProgress.SingleBar({
      stream: context.stderr, clearOnComplete: true, hideCursor: true, gracefulExit: false, barsize: 20,
      barCompleteChar: '█', barIncompleteChar: '░',
      format: '{phase} {bar} {percentage}% of {size}, horizon {horizon}',
    });
  }

  show({ phase, horizon, bytes, totalBytes }: Progress): void {
    const shown = { phase: phase === 'fold' ? 'folding' : 'merging', size: formatSize(totalBytes), horizon };
    if (!this.#isShown) this.#bar.start(totalBytes, bytes, shown);
    this.#isShown = true;
    this.#bar.setTotal(totalBytes);
    this.#bar.update(bytes, shown);
  }

  end(): void {
    if (this.#isShown) this.#bar.stop();
    this.#isShown = false;
  }
}

function parsed(text: string): CompactLine {
  const value: unknown = JSON.parse(text);
  if (!Check(COMPACT_LINE, value)) throw new TidemarkError('API_ANSWER', 'a line of the compaction is not understood');
  return value;
}
