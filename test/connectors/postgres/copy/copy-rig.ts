import type { ConnectorModule, SourceConfig } from '../../../../contracts/config.ts';
import type { CopyPlan, SourceConnector, TableCopier } from '../../../../contracts/connector.ts';
import type { Runtime } from '../../../../contracts/runtime.ts';
import { PostgresConnector } from '../../../../connectors/postgres/connector.ts';
import { formatTidRange, parseTidRange, type TidRange } from '../../../../connectors/postgres/copy/ranges.ts';
import { postgresConnector } from '../../../../connectors/postgres/index.ts';
import type { PostgresServer, Session } from '../../../fixtures/embedded-postgres.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { testSource } from '../../../fixtures/test-hub.ts';
import { byText, type ChunkHooks, type FoldedRow, HookedCopier, type RigParts, SourceRig, startRig } from '../../relational/source-rig.ts';
import { quotedName, sameAsServer } from '../server-rows.ts';

export interface CopyHooks extends ChunkHooks {
  /** Ranges are cut to so many pages. */
  readonly pages?: number;
}

/** Twelve pieces and an open end; enough for the tables of these tests. */
function cut(range: string, pages: number): string[] {
  const tids = parseTidRange(range);
  if (tids === null) return [range];
  const pieces: TidRange[] = [];
  let { from } = tids;
  for (let piece = 1; piece <= 12; piece++) {
    const to = { page: tids.from.page + piece * pages, item: 0 };
    if (tids.to !== null && to.page >= tids.to.page) break;
    pieces.push({ leaf: tids.leaf, from, to });
    from = to;
  }
  pieces.push({ leaf: tids.leaf, from, to: tids.to });
  return pieces.map(formatTidRange);
}

class HookedConnector extends PostgresConnector {
  readonly #hooks: CopyHooks;
  #hooked: HookedCopier | null = null;

  constructor(config: SourceConfig, runtime: Runtime, hooks: CopyHooks) {
    super(config, runtime);
    this.#hooks = hooks;
  }

  override copier(): TableCopier {
    this.#hooked ??= new HookedCopier(super.copier(), this.#hooks, (plan) => divided(plan, this.#hooks.pages));
    return this.#hooked;
  }
}

function divided(plan: CopyPlan, pages: number | undefined): CopyPlan {
  return pages === undefined ? plan : { ...plan, ranges: plan.ranges.flatMap((range) => cut(range, pages)) };
}

/** A hub with one source, a database of a server, and no sink. */
export class CopyRig extends SourceRig {
  readonly #server: PostgresServer;
  readonly #database: string;

  private constructor(parts: RigParts, server: PostgresServer, database: string) {
    super(parts);
    this.#server = server;
    this.#database = database;
  }

  /** @param data a folder that outlives it */
  static async start(
    server: PostgresServer,
    database: string,
    data: string,
    hooks: CopyHooks = {},
    source: Partial<SourceConfig> = {},
  ): Promise<CopyRig> {
    const connector: ConnectorModule<SourceConnector> = {
      ...postgresConnector,
      create: (config, runtime) => new HookedConnector(config, runtime, hooks),
    };
    const options = { slot: `slot_${database}`, publication: `publication_${database}`, ...source.options };
    const config = testSource(server.url(database), { ...source, options });
    return new CopyRig(await startRig(connector, config, data, createTestRuntime()), server, database);
  }

  session(): Promise<Session> {
    return this.#server.connect(this.#database);
  }

  query<R extends object = Record<string, unknown>>(sql: string): Promise<R[]> {
    return this.#server.query<R>(sql, [], this.#database);
  }

  override async caughtUp(): Promise<void> {
    const [row] = await this.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
    await this.query(`SELECT pg_logical_emit_message(true, 'test', 'caught up')`);
    const position = this.log.state().position;
    if (row === undefined || position === null) throw new Error('no position');
    const connector = new PostgresConnector(testSource(this.#server.url(this.#database)), this.runtime);
    const target = connector.positions.parse(`lsn:${row.lsn}`, position);
    await this.until('the log has it', () => {
      const now = this.log.state().position;
      return now !== null && connector.positions.compare(now, target) >= 0;
    });
    await connector[Symbol.asyncDispose]();
  }

  override async atServer(table: string, columns: readonly string[]): Promise<FoldedRow[]> {
    await using session = await this.session();
    await sameAsServer(session);
    const list = columns.map((column) => `(${quotedName(column)})::text`).join(', ');
    const { rows } = await session.query<(string | null)[]>({ text: `SELECT ${list} FROM ${table}`, rowMode: 'array' });
    return rows.toSorted(byText);
  }

  protected override printed(bytes: Uint8Array): string {
    return `\\x${Buffer.from(bytes).toString('hex')}`;
  }
}
