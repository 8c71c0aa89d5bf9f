/** What the folder of a hub that does not run can tell. */
import type { CatalogTable } from '../../../contracts/catalog.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import { EmbeddedLogEngine } from '../../log/embedded/engine.ts';
import { createRuntime } from '../../runtime/runtime.ts';
import { compactionView } from '../../compaction/compaction-view.ts';
import { keptView, tableStatus } from '../../table-status.ts';
import type { PrintPosition } from '../../print-position.ts';
import type { HubStatus, SourceStatusView, TableStatus } from '../../service.ts';

/**
 * Opens the logs of the folder, changes nothing; the caller disposes.
 * @throws TidemarkError `LOG_UNKNOWN` when there is no log in it
 */
export function openStopped(data: string): Promise<EmbeddedLogEngine> {
  return EmbeddedLogEngine.openReadOnly(data, createRuntime({ logLevel: 'error' }));
}

/** The log of a source in the folder. @throws TidemarkError `SOURCE_UNKNOWN` */
export async function stoppedLog(engine: EmbeddedLogEngine, data: string, source: string): Promise<SourceLog> {
  if (!(await engine.sources()).includes(source)) throw new TidemarkError('SOURCE_UNKNOWN', `${data} has no log of a source ${source}`, { where: { source } });
  return engine.open(source, { create: false });
}

/** The status as far as the folder knows it: there are no sinks in it, and nothing moves. */
export async function stoppedStatus(data: string, version: string, print: PrintPosition): Promise<HubStatus> {
  await using engine = await openStopped(data);
  const sources: SourceStatusView[] = [];
  for (const name of await engine.sources()) sources.push(sourceStatus(await engine.open(name, { create: false }), print));
  return { version, startedAt: '', disk: { used: sources.reduce((sum, source) => sum + source.logBytes, 0), limit: null, level: 'ok' }, sources, sinks: [] };
}

function sourceStatus(log: SourceLog, print: PrintPosition): SourceStatusView {
  const { highWatermark, horizon, horizonTime, position, commitTime, bytes, historyBytes, baseBytes, archiveBytes } = log.state();
  return {
    name: log.source,
    type: '',
    state: 'stopped',
    highWatermark,
    horizon,
    horizonTime,
    position: position === null ? null : print(position),
    commitTime,
    lag: { bytes: null, seconds: null },
    retainedWalBytes: null,
    logBytes: bytes,
    historyBytes,
    baseBytes,
    archiveBytes,
    compaction: compactionView({ ...log.compaction(), target: horizon, failure: null }, horizon, 0),
    recordsPerSecond: 0,
    waitingFor: '',
    tables: log.catalog().tables().map((table) => tableStatus(table, copyOf(table), null, keptView(log.extent(table.tableId), horizon))),
    error: null,
  };
}

/** The hub that does not run copies nothing. */
function copyOf({ state }: CatalogTable): TableStatus['copy'] {
  return state.state === 'copying' ? { rows: state.rows, estimatedRows: 0, etaSeconds: null, waitingFor: 'the hub to run' } : null;
}
