import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { HubConfig } from '../../../contracts/config.ts';
import type { LogLevel } from '../../../contracts/runtime.ts';
import { startApi, type Api } from '../../api/server.ts';
import { withHashKeys } from '../../config/hash-key.ts';
import { loadConfig } from '../../config/load.ts';
import { Hub } from '../../hub.ts';
import { createLogger } from '../../runtime/logger.ts';
import { createRuntime, type NodeRuntime } from '../../runtime/runtime.ts';
import { loadedConfig } from '../configuration.ts';
import type { CliContext } from '../context.ts';
import { CopyProgress } from '../copy-progress.ts';
import { examples, withConfigOption, type ConfigOption } from '../hub-access.ts';
import { prettyLine, type LogFormat } from '../log-format.ts';

interface RunOptions extends ConfigOption {
  readonly untilCaughtUp?: boolean;
  readonly logFormat?: LogFormat;
  readonly logLevel: LogLevel;
}

const PROGRESS_MS = 500;

export function addRunCommand(program: Command, context: CliContext): void {
  withConfigOption(program.command('run'))
    .description('Run the hub: capture the sources, keep their logs, feed the sinks. SIGTERM and SIGINT end it in order; a second one at once')
    .option('--until-caught-up', 'end once every table is copied and every sink has applied what the sources had by then')
    .addOption(new Option('--log-format <format>', 'lines of the log on standard error (default: pretty on a terminal, else json)').choices(['pretty', 'json']))
    .addOption(new Option('--log-level <level>', 'least severe level that is logged').choices(['debug', 'info', 'warn', 'error']).default('info'))
    .addHelpText('after', examples('tidemark run', 'tidemark run --config shop.yaml --log-format json', 'tidemark run --until-caught-up && psql "$REPLICA_URL"'))
    .action((options: RunOptions) => run(options, context));
}

async function run(options: RunOptions, context: CliContext): Promise<void> {
  const loaded = await loadedConfig(options, context);
  using progress = new CopyProgress(context.stderr);
  const runtime = runtimeFor(options, context, progress);
  const config = await withHashKeys(loaded, runtime.files, runtime.random);
  const began = runtime.clock.monotonic();
  await using hub = await Hub.start(config, runtime, { registry: context.registry, version: context.version });
  await using api = await startHubApi(hub, config, runtime, options, context);
  runtime.logger.log('info', 'hub-started', { version: context.version, data: config.data, socket: api.socket, http: api.http });
  using ticker = context.stderrIsTty ? showProgress(hub, progress, runtime) : null;
  if (options.untilCaughtUp === true) {
    await hub.untilCaughtUp(context.signal);
    const { sinks } = await hub.status();
    const seconds = Math.round(runtime.clock.monotonic() - began) / 1000;
    runtime.logger.log('info', 'caught-up', { seconds, sinks: Object.fromEntries(sinks.map(({ name, offset }) => [name, offset])) });
  } else {
    await aborted(context.signal);
  }
  ticker?.[Symbol.dispose]();
  progress[Symbol.dispose]();
  runtime.logger.log('info', 'hub-ending');
}

function runtimeFor(options: RunOptions, context: CliContext, progress: CopyProgress): NodeRuntime {
  const runtime = createRuntime({ logLevel: options.logLevel });
  const format = options.logFormat ?? (context.stderrIsTty ? 'pretty' : 'json');
  if (format === 'json') return runtime;
  const to = { write: (line: string) => progress.log(prettyLine(line.trimEnd())) };
  return { ...runtime, logger: createLogger({ level: options.logLevel, to }) };
}

function startHubApi(hub: Hub, config: HubConfig, runtime: NodeRuntime, options: RunOptions, context: CliContext): Promise<Api> {
  const reload = async (): Promise<string[]> => {
    const loaded = await loadConfig(resolve(context.cwd, options.config), context.env, context.registry);
    const wanted = await withHashKeys({ ...loaded, data: config.data }, runtime.files, runtime.random);
    return [...(await hub.reload(wanted)), ...unappliedChanges(config, loaded)];
  };
  const { data, http } = config;
  const { clock, logger, metrics } = runtime;
  return startApi({ service: hub, log: hub.engine, metrics, data, http, clock, logger, reload });
}

/** What only a start can change. */
function unappliedChanges(running: HubConfig, wanted: HubConfig): string[] {
  const changed = [
    ...(running.data === wanted.data ? [] : ['data']),
    ...(running.http === wanted.http ? [] : ['http']),
    ...(JSON.stringify(running.limits) === JSON.stringify(wanted.limits) ? [] : ['limits']),
  ];
  return changed.map((key) => `hub.${key} has changed: it takes effect when the hub is started again`);
}

function showProgress(hub: Hub, progress: CopyProgress, runtime: NodeRuntime): Disposable {
  return runtime.clock.every(PROGRESS_MS, () => {
    hub.status().then(
      (status) => progress.show(status),
      (error: unknown) => runtime.logger.log('warn', 'status-failed', { error }),
    );
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolved) => {
    if (signal.aborted) resolved();
    else signal.addEventListener('abort', () => resolved(), { once: true });
  });
}
