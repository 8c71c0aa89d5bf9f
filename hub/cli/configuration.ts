import { resolve } from 'node:path';
import type { HubConfig } from '../../contracts/config.ts';
import { readConfig } from '../config/load.ts';
import type { CliContext } from './context.ts';
import { Problems } from './exit.ts';
import type { ConfigOption } from './hub-access.ts';

/** The configuration that the options name. @throws Problems with every fault of the file */
export async function loadedConfig(options: ConfigOption, context: CliContext): Promise<HubConfig> {
  const result = await readConfig(resolve(context.cwd, options.config), context.env, await context.registry());
  if ('problems' in result) throw new Problems(result.problems);
  return result.config;
}
