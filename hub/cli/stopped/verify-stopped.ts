/** A verification without a hub: the log from its folder, the sink by its configuration. */
import { join } from 'node:path';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { DeadLetters } from '../../dead-letters/dead-letters.ts';
import { withHashKey } from '../../config/hash-key.ts';
import { positionPrinter } from '../../print-position.ts';
import { createRuntime } from '../../runtime/runtime.ts';
import type { VerifyEvent, VerifyRequest } from '../../verify/report.ts';
import { verifying } from '../../verify/verifications.ts';
import { loadedConfig } from '../configuration.ts';
import type { CliContext } from '../context.ts';
import type { ConfigOption } from '../hub-access.ts';
import { openStopped } from './stopped-hub.ts';

/** Stands for the key that a running hub makes: nothing is hashed with it. */
const NO_KEY = '0'.repeat(64);

/**
 * Log and sink as they were left. Nothing is written, neither there nor in the folder.
 * @throws TidemarkError `VERIFY_SOURCE` when the source is to be read, `VERIFY_SINK` when something is to be repaired;
 *   `SINK_UNKNOWN`, `CONFIG_...`
 */
export async function* verifyStopped(data: string, sink: string, request: VerifyRequest, options: ConfigOption, context: CliContext): AsyncGenerator<VerifyEvent, void, void> {
  if (request.against === 'source') {
    throw new TidemarkError('VERIFY_SOURCE', `no hub runs in ${data}, whose stream would tell what of the source is in the log`, {
      remedy: 'Start the hub, or compare the log with the sink alone: --against log.',
    });
  }
  if (request.repair) throw new TidemarkError('VERIFY_SINK', `no hub runs in ${data} that could rewrite rows`, { where: { sink } });
  const hub = withHashKey(await loadedConfig(options, context), NO_KEY);
  const config = hub.sinks.get(sink);
  if (config === undefined) throw new TidemarkError('SINK_UNKNOWN', `the configuration has no sink ${sink}`, { where: { sink } });
  const registry = await context.registry();
  const module = registry.sinks.find(({ type }) => type === config.type);
  if (module === undefined) throw new TidemarkError('CONFIG_REFERENCE', `there is no sink of type ${config.type}`, { where: { sink } });
  const runtime = createRuntime({ logLevel: 'silent' });
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-verify-'));
  try {
    await using engine = await openStopped(data);
    const log = await engine.open(config.from, { create: false });
    const letters = await DeadLetters.load(runtime.files, join(data, 'sinks', encodeURIComponent(sink), 'dead-letters.json'));
    await using opened = module.create(config, runtime);
    yield* verifying({
      config, log, runtime, directory,
      sink: opened,
      letters: () => letters.list(),
      source: null,
      worker: null,
      printPosition: positionPrinter(registry.connectors),
      leases: false,
    }, request, context.signal);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
