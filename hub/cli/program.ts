import { Command, CommanderError } from 'commander';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { CliContext } from './context.ts';
import { addBackupCommand } from './commands/backup.ts';
import { addCheckCommand } from './commands/check.ts';
import { addCompactCommand } from './commands/compact.ts';
import { addDiffCommand } from './commands/diff.ts';
import { addHistoryCommand } from './commands/history.ts';
import { addInitCommand } from './commands/init.ts';
import { addLogCommands } from './commands/log.ts';
import { addReadCommand } from './commands/read.ts';
import { addRebuildCommand } from './commands/rebuild.ts';
import { addReloadCommand } from './commands/reload.ts';
import { addRestoreCommand } from './commands/restore.ts';
import { addRunCommand } from './commands/run.ts';
import { addSchemaCommand } from './commands/schema.ts';
import { addSinkCommands } from './commands/sink.ts';
import { addSourceCommands } from './commands/source.ts';
import { addStatusCommand } from './commands/status.ts';
import { addTableCommand } from './commands/table.ts';
import { addTablesCommand } from './commands/tables.ts';
import { addVerifyCommand } from './commands/verify.ts';
import { addWaitCommand } from './commands/wait.ts';
import { examples } from './hub-access.ts';
import { reportFailure, type ExitCode } from './exit.ts';

/** Runs one command line (without the names of node and script) and answers the exit code. Never throws. */
export async function runCommand(args: readonly string[], context: CliContext): Promise<ExitCode> {
  try {
    await createProgram(context).parseAsync([...args], { from: 'user' });
    return context.outcome.exitCode;
  } catch (failure) {
    if (failure instanceof CommanderError && failure.exitCode === 0) return 0;
    const error = failure instanceof CommanderError ? usageError(failure) : failure;
    return reportFailure(error, context, args.includes('--json'));
  }
}

/** Every command with its help. */
function createProgram(context: CliContext): Command {
  const program = new Command('tidemark')
    .description("A database's write-ahead log as keyed changelogs that replicas, caches and other sinks replay")
    .version(context.version, '-V, --version', 'print the version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
      // What is wrong is printed once, by the caller.
      outputError: () => undefined,
    })
    .configureHelp({ showGlobalOptions: false })
    .addHelpText('after', `${examples('tidemark init "$SHOP_URL"', 'tidemark check', 'tidemark run')}\nExit codes: 0 ok, 1 failed, 2 usage or configuration.\n`);
  for (const add of [
    addInitCommand, addCheckCommand, addRunCommand, addStatusCommand, addTablesCommand, addReadCommand,
    addTableCommand, addHistoryCommand, addDiffCommand, addWaitCommand,
    addSourceCommands, addSinkCommands, addLogCommands, addBackupCommand, addRestoreCommand, addRebuildCommand, addVerifyCommand, addReloadCommand, addCompactCommand, addSchemaCommand,
  ]) {
    add(program, context);
  }
  return program;
}

function usageError(failure: CommanderError): TidemarkError {
  // Without a command commander prints the help itself.
  const what = failure.code === 'commander.help' ? 'a command is missing' : failure.message.replace(/^error: /, '');
  return new TidemarkError('USAGE', what, { cause: failure });
}
