import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { BackUpOptions } from '../care/back-up.ts';
import type { CliContext } from '../context.ts';
import { examples, withHubOptions } from '../hub-access.ts';

export function addBackupCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('backup'))
    .description("Back up the hub's data folder, while it runs or not; what an earlier backup in the folder has is not copied again")
    .argument('<folder>', 'a folder of backups: empty, not there yet, or used before')
    .option('--json', 'one JSON object')
    .addHelpText('after', examples('tidemark backup /mnt/backups/shop', 'tidemark backup /mnt/backups/shop --data /var/lib/tidemark --json'))
    .action(async (folder: string, options: BackUpOptions) => {
      const { backUp } = await import('../care/back-up.ts');
      await backUp(resolve(context.cwd, folder), options, context);
    });
}
