import type { ConnectorModule, SourceConfig } from '../../../../contracts/config.ts';
import type { CopyPlan, SourceConnector, TableCopier } from '../../../../contracts/connector.ts';
import type { Runtime } from '../../../../contracts/runtime.ts';
import { MysqlConnector } from '../../../../connectors/mysql/connector.ts';
import { mysqlConnector } from '../../../../connectors/mysql/index.ts';
import { encodePlace, mysqlPositions } from '../../../../connectors/mysql/position.ts';
import { boundTexts, formatCopyState, parseCopyState, plannedRanges } from '../../../../connectors/mysql/copy/copy-state.ts';
import { formatKeyRange } from '../../../../connectors/mysql/copy/key-ranges.ts';
import type { MysqlServer } from '../../../fixtures/mysql.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { byText, type ChunkHooks, type FoldedRow, HookedCopier, type RigParts, SourceRig, startRig } from '../../relational/source-rig.ts';
import { mysqlSource } from '../mysql-source.ts';
import { endOf } from './copying.ts';

export interface CopyHooks extends ChunkHooks {
  /** Where tables with a key are divided: values of its first column, in the server's order, as it prints them. */
  readonly bounds?: readonly string[];
}

class HookedConnector extends MysqlConnector {
  readonly #hooks: CopyHooks;
  #hooked: HookedCopier | null = null;

  constructor(config: SourceConfig, runtime: Runtime, hooks: CopyHooks) {
    super(config, runtime);
    this.#hooks = hooks;
  }

  override copier(): TableCopier {
    this.#hooked ??= new HookedCopier(super.copier(), this.#hooks, (plan, isResumed) => (isResumed ? plan : divided(plan, this.#hooks.bounds)));
    return this.#hooked;
  }
}

function divided(plan: CopyPlan, bounds: readonly string[] | undefined): CopyPlan {
  if (bounds === undefined || plan.whole) return plan;
  const state = { ...parseCopyState(plan.copyState), bounds: boundTexts(bounds.map((bound) => [Buffer.from(bound)])) };
  return { ...plan, estimatedBytes: 1 << 20, copyState: formatCopyState(state), ranges: plannedRanges(state).map(formatKeyRange) };
}

/** A hub with one source, the database `shop` of a server, and no sink. */
export class CopyRig extends SourceRig {
  readonly #server: MysqlServer;

  private constructor(parts: RigParts, server: MysqlServer) {
    super(parts);
    this.#server = server;
  }

  /** @param data a folder that outlives it */
  static async start(server: MysqlServer, data: string, hooks: CopyHooks = {}, source: Partial<SourceConfig> = {}): Promise<CopyRig> {
    const connector: ConnectorModule<SourceConnector> = { ...mysqlConnector, create: (config, runtime) => new HookedConnector(config, runtime, hooks) };
    return new CopyRig(await startRig(connector, mysqlSource(server.url('shop'), source), data, createTestRuntime({ seed: Date.now() })), server);
  }

  override async caughtUp(): Promise<void> {
    const end = encodePlace(await endOf(this.#server));
    await this.until('the log has it', () => {
      const { position } = this.log.state();
      return position !== null && mysqlPositions.compare(position, end) >= 0;
    });
  }

  override async atServer(table: string, columns: readonly string[]): Promise<FoldedRow[]> {
    const rows = await this.#server.query(`SELECT ${columns.join(', ')} FROM ${table}`, 'shop');
    return rows.map((row) => columns.map((column) => row[column] ?? null)).toSorted(byText);
  }

  protected override printed(bytes: Uint8Array): string {
    return Buffer.from(bytes).toString('latin1');
  }
}
