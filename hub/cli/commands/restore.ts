import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { PutBackOptions } from '../care/put-back.ts';
import type { CliContext } from '../context.ts';
import { examples } from '../hub-access.ts';

export function addRestoreCommand(program: Command, context: CliContext): void {
  program
    .command('restore')
    .description('Write a data folder as a backup has it, put damaged files of one back, or list the backups')
    .argument('<folder>', 'the folder of backups')
    .option('--to <data>', 'the data folder: empty or not there yet; with --damaged the one of a stopped hub')
    .option('--backup <name>', 'which backup (default: the newest)')
    .option('--damaged', 'only put back files of the log that are damaged or gone; the log keeps what came after the backup')
    .option('--list', 'list the backups')
    .option('--json', 'JSON, one object per line')
    .addHelpText('after', examples('tidemark restore /mnt/backups/shop --list', 'tidemark restore /mnt/backups/shop --to ./data', 'tidemark restore /mnt/backups/shop --damaged --to ./data'))
    .action(async (folder: string, options: PutBackOptions) => {
      const { putBack } = await import('../care/put-back.ts');
      await putBack(resolve(context.cwd, folder), options, context);
    });
}
