/** How a command finds the hub: the one that runs, or the folder of one that does not. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { ApiClient, nobodyListens } from '../api/client.ts';
import { findSocket } from '../api/socket-path.ts';
import { readHubPlace } from '../config/load.ts';
import type { CliContext } from './context.ts';

export const DEFAULT_CONFIG = 'tidemark.yaml';

export interface ConfigOption {
  readonly config: string;
}

export interface HubOptions extends ConfigOption {
  readonly data?: string;
  readonly http?: string;
}

export function withConfigOption(command: Command): Command {
  return command.option('-c, --config <file>', 'configuration file', DEFAULT_CONFIG);
}

/** The options of every command that talks to a hub. */
export function withHubOptions(command: Command): Command {
  return withConfigOption(command)
    .option('--data <folder>', "the hub's data folder (default: the one that the configuration names)")
    .option('--http <address>', 'address of the running hub, such as 127.0.0.1:7400 (default: the socket in its data folder)');
}

/**
 * What `running` makes of the hub that runs; when none does, what `stopped` makes of its folder.
 * @throws TidemarkError `API_UNREACHABLE` when none runs and the command needs one
 */
export async function withHub<T>(
  options: HubOptions,
  context: CliContext,
  running: (client: ApiClient) => Promise<T>,
  stopped?: (data: string) => Promise<T>,
): Promise<T> {
  if (options.http !== undefined) return running(new ApiClient({ http: options.http }));
  const data = await dataFolder(options, context);
  const client = new ApiClient({ socket: await findSocket(data) });
  try {
    await client.health(context.signal);
  } catch (error) {
    if (!nobodyListens(error)) throw error;
    if (stopped !== undefined) return stopped(data);
    throw new TidemarkError('API_UNREACHABLE', `no hub runs in ${data}`, { cause: error });
  }
  return running(client);
}

/** The data folder that a command is about, absolute. */
export async function dataFolder(options: HubOptions, context: CliContext): Promise<string> {
  if (options.data !== undefined) return resolve(context.cwd, options.data);
  return (await readHubPlace(resolve(context.cwd, options.config), context.env)).data;
}

/** `Examples:` under the help of a command. */
export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}\n`;
}
