import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { HubConfig } from '../../../contracts/config.ts';
import type { CompactAnswer, HubService, HubStatus, RebuildAnswer, RebuildQuestion, RebuildView, SinkStatusView, SourceStatusView, TableStatus, WaitTarget } from '../../../hub/service.ts';
import type { VerifyEvent, VerifyReport, VerifyRequest } from '../../../hub/verify/report.ts';

export const TABLE: TableStatus = {
  table: 'public.orders', tableId: 1, state: 'consistent', since: 5, consistent: [{ from: 5, to: null }], kept: { how: 'compact', recordsAfter: 0, rowsAfter: 0 }, copy: null, stoppedBecause: null, remedy: null,
};

export const SOURCE: SourceStatusView = {
  name: 'shop', type: 'postgres', state: 'streaming', highWatermark: 13, horizon: 0, horizonTime: 0, position: '0/16B3748', commitTime: 1_795_255_872_000_345,
  lag: { bytes: 4096, seconds: 1.5 }, retainedWalBytes: 1 << 20, logBytes: 12_345, historyBytes: 12_345, baseBytes: 0, archiveBytes: 0,
  compaction: { state: 'idle', part: null, target: null, last: null, hold: null, error: null }, recordsPerSecond: 17, waitingFor: '', tables: [TABLE], error: null,
};

export const SINK: SinkStatusView = {
  name: 'replica', type: 'postgres', from: 'shop', state: 'applying', degraded: false, offset: 10, position: '0/16B3000', commitTime: 1_795_255_871_000_000,
  lag: { records: 3, bytes: 321, seconds: 0.5 }, recordsPerSecond: 9, load: null, deadLetters: 0, pause: null, rebuild: null, error: null,
};

/** A rebuild that the sink does not have unless a test says so. */
export const REBUILD: RebuildView = {
  id: 'r1', state: 'running', phase: 'loading', what: 'public.orders', rows: 250_000, rowsPerSecond: 50_000, part: 0.25, etaSeconds: 90,
  tables: null, to: null, offset: 0, startedAt: '2026-11-21T13:00:00.000Z', endedAt: null, why: '', error: null,
};

export const STATUS: HubStatus = { version: '0.1.0', startedAt: '2026-11-21T10:00:00.000Z', disk: { used: 12_345, limit: 1e9, level: 'ok' }, sources: [SOURCE], sinks: [SINK] };

/** The seam's double: says what it was told to say and remembers what it was asked. The sink `replica` is at offset 10. */
export class ScriptedService implements HubService {
  view: HubStatus = STATUS;
  readonly asked: string[] = [];
  /** Waits that have begun and not ended. */
  waiting = 0;
  #begun: (() => void)[] = [];

  status(): Promise<HubStatus> {
    return Promise.resolve(this.view);
  }

  /** Resolves when a wait that cannot be answered has begun. */
  waitBegins(): Promise<void> {
    return new Promise((resolve) => this.#begun.push(resolve));
  }

  async wait(sink: string, target: WaitTarget, signal: AbortSignal): Promise<number> {
    this.#check(sink, 'wait');
    if ('position' in target && !target.position.startsWith('lsn:')) throw new TidemarkError('POSITION_SYNTAX', `${target.position} is no position`);
    if ('position' in target || target.offset <= 10) return 10;
    this.waiting++;
    for (const begun of this.#begun.splice(0)) begun();
    return new Promise((_, reject) => {
      const end = (): void => {
        this.waiting--;
        reject(new TidemarkError('ABORTED', 'the wait was given up'));
      };
      if (signal.aborted) end();
      else signal.addEventListener('abort', end, { once: true });
    });
  }

  async pauseSink(sink: string): Promise<void> {
    this.#check(sink, 'pause');
  }

  async resumeSink(sink: string): Promise<void> {
    this.#check(sink, 'resume');
  }

  async retrySink(sink: string): Promise<void> {
    this.#check(sink, 'retry');
  }

  /** What a rebuild is answered with. */
  rebuild: RebuildAnswer = { id: 'r1', to: null, findings: [] };

  async rebuildSink(sink: string, { tables, to, fromScratch }: RebuildQuestion): Promise<RebuildAnswer> {
    this.#check(sink, 'rebuild');
    this.asked.push([tables?.join(' ') ?? 'all', to ?? 'here', fromScratch ? 'from scratch' : 'on'].join(', '));
    return this.rebuild;
  }

  async cancelRebuild(sink: string): Promise<string> {
    this.#check(sink, 'cancel rebuild');
    return 'cancelled';
  }

  async *verify(sink: string, { tables, against, repair }: VerifyRequest, signal: AbortSignal): AsyncGenerator<VerifyEvent, void, void> {
    this.#check(sink, 'verify');
    this.asked.push([...tables, against, repair ? 'repair' : 'look'].join(' '));
    yield { progress: { table: 'public.orders', index: 1, tables: 1, phase: 'rows', rows: 5, ofRows: 10, etaSeconds: 1 } };
    await this.verifying(signal);
    yield { report: this.report };
  }

  /** What a verification does between its progress and its report. */
  verifying: (signal: AbortSignal) => Promise<void> = () => Promise.resolve();

  /** What a verification tells. */
  report: VerifyReport = { sink: 'replica', source: 'shop', against: 'source', outcome: 'equal', seconds: 1.5, tables: [] };

  async addTable(source: string, table: string): Promise<void> {
    this.asked.push(`add-table ${source} ${table}`);
  }

  async recopy(source: string, table: string): Promise<void> {
    this.asked.push(`recopy ${source} ${table}`);
    if (table === 'public.broken') throw new Error('a fault that nobody expected');
  }

  async compactSource(source: string, to: string | null): Promise<CompactAnswer> {
    this.asked.push(`compact ${source} ${to ?? 'all'}`);
    return { from: 0, horizon: 7, to: 13, hold: { by: 'lease', name: 'sink:replica', offset: 8 } };
  }

  async resync(source: string): Promise<void> {
    this.asked.push(`resync ${source}`);
  }

  async reload(config: HubConfig): Promise<string[]> {
    this.asked.push(`reload ${[...config.sources.keys()].join(' ')}`);
    return ['nothing changed'];
  }

  #check(sink: string, verb: string): void {
    this.asked.push(`${verb} ${sink}`);
    if (sink !== 'replica') throw new TidemarkError('SINK_UNKNOWN', `there is no sink ${sink}`, { where: { sink } });
  }
}
