import type { Command } from 'commander';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { TableStatus } from '../../service.ts';
import { positionPrinter } from '../../print-position.ts';
import { say, type CliContext } from '../context.ts';
import { examples, withHub, withHubOptions, type HubOptions } from '../hub-access.ts';
import { tableLines } from '../text/status-text.ts';

interface TablesOptions extends HubOptions {
  readonly json?: boolean;
}

export function addTablesCommand(program: Command, context: CliContext): void {
  withHubOptions(program.command('tables'))
    .description('List the tables of the log: state, and the offsets between which each equals the source')
    .argument('[source]', 'only those of this source')
    .option('--json', 'one JSON object per table and line')
    .addHelpText('after', examples('tidemark tables', 'tidemark tables shop --json'))
    .action(async (source: string | undefined, options: TablesOptions) => {
      const sources = await withHub<readonly SourceTables[]>(
        options,
        context,
        async (client) => (await client.tables(context.signal)).sources,
        async (data) => (await (await import('../stopped/stopped-hub.ts')).stoppedStatus(data, context.version, positionPrinter((await context.registry()).connectors))).sources,
      );
      if (source !== undefined && !sources.some(({ name }) => name === source)) {
        throw new TidemarkError('SOURCE_UNKNOWN', `there is no source ${source}`, { where: { source } });
      }
      const wanted = sources.filter(({ name }) => source === undefined || name === source);
      const lines =
        options.json === true
          ? wanted.flatMap(({ name, tables }) => tables.map((table) => JSON.stringify({ source: name, ...table })))
          : tableLines(wanted);
      for (const line of lines) await say(context, line);
    });
}

interface SourceTables {
  readonly name: string;
  readonly tables: readonly TableStatus[];
}
