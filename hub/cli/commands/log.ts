import { tmpdir } from 'node:os';
import type { Command } from 'commander';
import type { CheckFilesOptions } from '../care/check-files.ts';
import type { InspectOptions } from '../care/inspect-files.ts';
import type { CliContext } from '../context.ts';
import { examples, withHubOptions } from '../hub-access.ts';

export function addLogCommands(program: Command, context: CliContext): void {
  const group = program.command('log').description("Check the log's files, or look into one");
  withHubOptions(group.command('verify'))
    .description('Read every file of the log and name what is not as it was written; exit code 1 if anything is')
    .argument('[source]', 'the log of this source only')
    .option('--json', 'one JSON object per finding, and one per log')
    .option('--quick', 'leave out whether every update and delete has a row to act on')
    .option('--scratch <folder>', 'where keys are sorted', tmpdir())
    .addHelpText('after', examples('tidemark log verify', 'tidemark log verify shop --json', 'tidemark log verify --data ./restored --quick'))
    .action(async (source: string | undefined, options: CheckFilesOptions) => {
      const { checkFiles } = await import('../care/check-files.ts');
      await checkFiles(source, options, context);
    });
  withHubOptions(group.command('inspect'))
    .description('Print what stands in a file of the log, or the record at a moment')
    .argument('<what>', 'a manifest, segment, index, run or catalog; or SOURCE@MOMENT')
    .option('--json', 'one JSON object per line')
    .addHelpText('after', examples('tidemark log inspect data/log/shop/0000000001.segment', 'tidemark log inspect data/log/shop/manifest', 'tidemark log inspect shop@120345', 'tidemark log inspect shop@-2h'))
    .action(async (what: string, options: InspectOptions) => {
      const { inspectFiles } = await import('../care/inspect-files.ts');
      await inspectFiles(what, options, context);
    });
}
