/** What the folder of a hub that does not run can tell. */
import type { CatalogTable } from '../../contracts/catalog.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import { tableName } from '../../contracts/schema.ts';
import { EmbeddedLogEngine } from '../log/embedded/engine.ts';
import { createRuntime } from '../runtime/runtime.ts';
import type { HubStatus, SourceStatusView, TableStatus } from '../service.ts';

/**
 * Opens the logs of the folder, changes nothing; the caller disposes.
 * @throws TidemarkError `LOG_UNKNOWN` when there is no log in it
 */
export function openStopped(data: string): Promise<EmbeddedLogEngine> {
  return EmbeddedLogEngine.openReadOnly(data, createRuntime({ logLevel: 'error' }));
}

/** The status as far as the folder knows it: there are no sinks in it, and nothing moves. */
export async function stoppedStatus(data: string, version: string): Promise<HubStatus> {
  await using engine = await openStopped(data);
  const sources: SourceStatusView[] = [];
  for (const name of await engine.sources()) sources.push(sourceStatus(await engine.open(name, { create: false })));
  return { version, startedAt: '', sources, sinks: [] };
}

function sourceStatus(log: SourceLog): SourceStatusView {
  const { highWatermark, horizon, commitTime, bytes } = log.state();
  return {
    name: log.source,
    type: '',
    state: 'stopped',
    highWatermark,
    horizon,
    position: null,
    commitTime,
    lag: { bytes: null, seconds: 0 },
    retainedWalBytes: null,
    logBytes: bytes,
    recordsPerSecond: 0,
    waitingFor: '',
    tables: log.catalog().tables().map(tableStatus),
    error: null,
  };
}

function tableStatus({ tableId, versions, state, consistent }: CatalogTable): TableStatus {
  const schema = versions.at(-1)?.schema;
  return {
    table: schema === undefined ? `id ${tableId}` : tableName(schema),
    tableId,
    state: state.state,
    since: 'since' in state ? state.since : 'at' in state ? state.at : (versions[0]?.offset ?? 0),
    consistent,
    copy: state.state === 'copying' ? { rows: state.rows, estimatedRows: 0, etaSeconds: null, waitingFor: 'the hub to run' } : null,
    stoppedBecause: state.state === 'stopped' ? `${state.code}: ${state.why}` : null,
  };
}
