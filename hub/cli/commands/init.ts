import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { note, say, type CliContext } from '../context.ts';
import { checkSource, findingLines } from '../findings.ts';
import { DEFAULT_CONFIG, examples } from '../hub-access.ts';
import { proposedConfig, proposedEndpoint, type ProposedEndpoint } from '../text/proposal.ts';

interface InitOptions {
  readonly sink?: readonly string[];
  readonly out: string;
  readonly stdout?: boolean;
  readonly force?: boolean;
}

export function addInitCommand(program: Command, context: CliContext): void {
  program
    .command('init')
    .description('Look at a database and write a commented configuration for it')
    .argument('<url>', 'the source, such as postgres://user:password@host/database')
    .option('--sink <url>', 'a sink to mirror it to; may be given several times', (url: string, before: readonly string[] | undefined) => [...(before ?? []), url])
    .option('-o, --out <file>', 'where to write it', DEFAULT_CONFIG)
    .option('--stdout', 'print it instead')
    .option('--force', 'replace the file')
    .addHelpText(
      'after',
      examples(
        'tidemark init postgres://tidemark:secret@db.example.com/shop',
        'tidemark init "$SHOP_URL" --sink "$REPLICA_URL" --sink redis://127.0.0.1:6379',
        'tidemark init "$SHOP_URL" --stdout',
      ),
    )
    .action((url: string, options: InitOptions) => init(url, options, context));
}

async function init(url: string, options: InitOptions, context: CliContext): Promise<void> {
  const registry = await context.registry();
  const { createRuntime } = await import('../../runtime/runtime.ts');
  const file = resolve(context.cwd, options.out);
  if (options.stdout !== true && options.force !== true && existsSync(file)) throw exists(file);
  const source = proposedEndpoint(url, registry.connectors, 'source', []);
  const sinks: ProposedEndpoint[] = [];
  for (const sink of options.sink ?? []) sinks.push(proposedEndpoint(sink, registry.sinks, 'sink', sinks));
  const checked = await checkSource(
    {
      name: source.name,
      type: source.type,
      tables: () => true,
      tablePatterns: ['*.*'],
      columns: new Map(),
      hashKey: null,
      options: { url },
    },
    { registry, runtime: createRuntime({ logLevel: 'silent' }), signal: context.signal },
  );
  const text = proposedConfig(source, sinks, checked);
  if (options.stdout === true) await say(context, text.trimEnd());
  else await writeConfig(file, text, options.force === true);
  await note(context, `${findingLines(checked).join('\n')}\n`);
  const unseen = checked.tables.length === 0 && checked.findings.some(({ severity }) => severity === 'error');
  if (options.stdout !== true) await note(context, unseen ? whenUnseen(options.out) : nextSteps([source, ...sinks], options.out));
  if (unseen) context.outcome.exitCode = 1;
}

async function writeConfig(path: string, text: string, replace: boolean): Promise<void> {
  try {
    const file = await open(path, replace ? 'w' : 'wx', 0o600);
    try {
      await file.writeFile(text);
    } finally {
      await file.close();
    }
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unwritable';
    if (code === 'EEXIST') throw exists(path);
    throw new TidemarkError('USAGE', `${path} cannot be written (${code})`, { where: { file: path }, cause });
  }
}

function exists(file: string): TidemarkError {
  return new TidemarkError('USAGE', `${file} exists already`, { remedy: 'Name another file with --out, or replace it with --force.', where: { file } });
}

function whenUnseen(file: string): string {
  return `${file} is written without the tables, since they could not be seen. Mend what is named above, then run this again with --force.`;
}

function nextSteps(endpoints: readonly ProposedEndpoint[], file: string): string {
  return [
    `${file} is written. Next:`,
    ...endpoints.map(({ variable, shownUrl }) => `  export ${variable}='${shownUrl}'`),
    `  tidemark check${file === DEFAULT_CONFIG ? '' : ` --config ${file}`}`,
    `  tidemark run${file === DEFAULT_CONFIG ? '' : ` --config ${file}`}`,
  ].join('\n');
}
