/** What `tidemark run` does: a hub with its API, from its start to its drain. */
import { resolve } from 'node:path';
import type { HubConfig } from '../../contracts/config.ts';
import type { LogLevel } from '../../contracts/runtime.ts';
import { mustBeFree, startApi, type Api } from '../api/server.ts';
import { withHashKeys } from '../config/hash-key.ts';
import { loadConfig } from '../config/load.ts';
import { Hub } from '../hub.ts';
import { ScratchFolders } from '../moments/scratch.ts';
import { positionPrinter } from '../print-position.ts';
import { createLogger } from '../runtime/logger.ts';
import { createRuntime, type NodeRuntime } from '../runtime/runtime.ts';
import { loadedConfig } from './configuration.ts';
import type { CliContext } from './context.ts';
import { CopyProgress } from './text/copy-progress.ts';
import type { ConfigOption } from './hub-access.ts';
import { prettyLine, type LogFormat } from './text/log-format.ts';

export interface RunOptions extends ConfigOption {
  readonly untilCaughtUp?: boolean;
  readonly logFormat?: LogFormat;
  readonly logLevel: LogLevel;
}

const PROGRESS_MS = 500;

/** Runs until the context's signal aborts, or everything is caught up where the options ask for that. @throws TidemarkError, Problems */
export async function runHub(options: RunOptions, context: CliContext): Promise<void> {
  const loaded = await loadedConfig(options, context);
  using progress = new CopyProgress(context.stderr);
  const runtime = runtimeFor(options, context, progress);
  const config = await withHashKeys(loaded, runtime.files, runtime.random);
  const began = runtime.clock.monotonic();
  // A hub that could not be reached must not take over a slot and sinks first.
  const locked = async (): Promise<void> => (config.http === null ? undefined : mustBeFree(config.http));
  await using hub = await Hub.start(config, runtime, { registry: await context.registry(), version: context.version, locked });
  await using api = await startHubApi(hub, config, runtime, options, context);
  runtime.logger.log('info', 'hub.started', { version: context.version, data: config.data, socket: api.socket, http: api.http });
  using ticker = context.stderrIsTty ? showProgress(hub, progress, runtime) : null;
  if (options.untilCaughtUp === true) {
    await hub.untilCaughtUp(context.signal);
    const { sinks } = await hub.status();
    const seconds = Math.round(runtime.clock.monotonic() - began) / 1000;
    runtime.logger.log('info', 'hub.caught-up', { seconds, sinks: Object.fromEntries(sinks.map(({ name, offset }) => [name, offset])) });
  } else {
    await aborted(context.signal);
  }
  ticker?.[Symbol.dispose]();
  progress[Symbol.dispose]();
  runtime.logger.log('info', 'hub.ending');
}

function runtimeFor(options: RunOptions, context: CliContext, progress: CopyProgress): NodeRuntime {
  const runtime = createRuntime({ logLevel: options.logLevel });
  const format = options.logFormat ?? (context.stderrIsTty ? 'pretty' : 'json');
  if (format === 'json') return runtime;
  const to = { write: (line: string) => progress.log(prettyLine(line.trimEnd())) };
  return { ...runtime, logger: createLogger({ level: options.logLevel, to }) };
}

async function startHubApi(hub: Hub, config: HubConfig, runtime: NodeRuntime, options: RunOptions, context: CliContext): Promise<Api> {
  const reload = async (): Promise<string[]> => {
    const loaded = await loadConfig(resolve(context.cwd, options.config), context.env, await context.registry());
    const wanted = await withHashKeys({ ...loaded, data: config.data }, runtime.files, runtime.random);
    return [...(await hub.reload(wanted)), ...unappliedChanges(config, loaded)];
  };
  const { data, http } = config;
  const { clock, files, logger, metrics } = runtime;
  const { connectors } = await context.registry();
  const printPosition = positionPrinter(connectors);
  const codecs = connectors.map(({ positions }) => positions);
  const scratch = new ScratchFolders(files, data, 'hub');
  await scratch.clear();
  return startApi({ service: hub, log: hub.engine, metrics, printPosition, codecs, scratch, data, http, clock, files, logger, reload });
}

/** What only a start can change. */
function unappliedChanges(running: HubConfig, wanted: HubConfig): string[] {
  const changed = [
    ...(running.data === wanted.data ? [] : ['data']),
    ...(running.http === wanted.http ? [] : ['http']),
    ...(JSON.stringify(running.limits) === JSON.stringify(wanted.limits) ? [] : ['limits']),
    ...(JSON.stringify(running.log) === JSON.stringify(wanted.log) ? [] : ['log']),
  ];
  return changed.map((key) => `hub.${key} has changed: it takes effect when the hub is started again`);
}

function showProgress(hub: Hub, progress: CopyProgress, runtime: NodeRuntime): Disposable {
  return runtime.clock.every(PROGRESS_MS, () => {
    hub.status().then(
      (status) => progress.show(status),
      (error: unknown) => runtime.logger.log('warn', 'hub.status-failed', { error }),
    );
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolved) => {
    if (signal.aborted) resolved();
    else signal.addEventListener('abort', () => resolved(), { once: true });
  });
}
