import type { Command } from 'commander';
import { publishedSchema } from '../../config/schema.ts';
import { say, type CliContext } from '../context.ts';
import { examples } from '../hub-access.ts';

export function addSchemaCommand(program: Command, context: CliContext): void {
  program
    .command('schema')
    .description('Print the JSON Schema of the configuration file')
    .addHelpText('after', examples('tidemark schema > tidemark.schema.json'))
    .action(async () => say(context, JSON.stringify(publishedSchema(await context.registry()), null, 2)));
}
