import type { Command } from 'commander';
import { withHashKey } from '../../config/hash-key.ts';
import { loadedConfig } from '../configuration.ts';
import { say, type CliContext } from '../context.ts';
import { checkAll, findingLines } from '../findings.ts';
import { examples, withConfigOption, type ConfigOption } from '../hub-access.ts';

interface CheckOptions extends ConfigOption {
  readonly json?: boolean;
}

/** Stands for the key that a running hub makes: nothing is hashed with it. */
const NO_KEY = '0'.repeat(64);

export function addCheckCommand(program: Command, context: CliContext): void {
  withConfigOption(program.command('check'))
    .description('Connect to every source and sink, change nothing, and name what is wrong with the statement that mends it')
    .option('--json', 'one JSON object per finding and line')
    .addHelpText('after', examples('tidemark check', 'tidemark check --config shop.yaml', 'tidemark check --json | jq \'select(.severity == "error")\''))
    .action(async (options: CheckOptions) => {
      const config = withHashKey(await loadedConfig(options, context), NO_KEY);
      const { createRuntime } = await import('../../runtime/runtime.ts');
      const runtime = createRuntime({ logLevel: 'silent' });
      const parts = await checkAll(config, { registry: await context.registry(), runtime, signal: context.signal });
      const all = parts.flatMap((part) => part.findings.map((finding) => ({ part: part.part, name: part.name, ...finding })));
      const errors = all.filter(({ severity }) => severity === 'error').length;
      const warnings = all.filter(({ severity }) => severity === 'warning').length;
      if (options.json === true) for (const finding of all) await say(context, JSON.stringify(finding));
      else {
        for (const part of parts) await say(context, `${findingLines(part).join('\n')}\n`);
        await say(context, `${counted(errors, 'error')}, ${counted(warnings, 'warning')}`);
      }
      if (errors > 0) context.outcome.exitCode = 1;
    });
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
