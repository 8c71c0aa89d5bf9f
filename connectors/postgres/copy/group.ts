/**
 * Small tables are copied many at a time: one transaction, one snapshot, one reading of the catalog, so that a database of
 * thousands of them does not wait thousands of times for the stream. Each gets a chunk of its own, and steps 3 to 6 of
 * docs/protocol-copy.md hold for each: its lock comes before the snapshot, its shape is as the snapshot shows it.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { CopyPlan } from '../../../contracts/connector.ts';
import type { CopierDeps } from './copier-deps.ts';
import { ALONE, type GroupAnswer } from '../../relational/gathered-copier.ts';
import { Spool, SpooledChunk } from '../../relational/spooled-chunk.ts';
import { sightOf } from './chunk-view.ts';
import { fillSpool } from './fill.ts';
import { formatTidRange, type TidRange } from './ranges.ts';
import { copyTids } from './sql.ts';
import { copyStateOf, whyVoid, type CopyState } from './state.ts';
import { checkNames, gone, LOCK_TIMEOUT_MS, lockRefusal, presentNames, snapshotView } from './transaction.ts';
import type { Lease } from '../../relational/session-pool.ts';
import type { Session } from '../session.ts';

/** Once their rows are so many bytes, the tables that are left are copied one by one. */
const GROUP_BYTES = 8 << 20;
/** A table whose rows are more than this, because they are kept compressed, is copied alone. */
const TABLE_BYTES = 1 << 20;
const BUFFER_BYTES = 16 << 10;

/** The whole of one small table. */
export interface SmallTable {
  readonly plan: CopyPlan;
  readonly state: CopyState;
  readonly range: TidRange;
}

/**
 * One chunk for each table, from one transaction. Nobody is waited for: the locks of the tables before would be held
 * meanwhile, and a deadlock could end somebody else's transaction. Where a lock is not free at once, all go alone. The
 * lease is kept where its session is of further use.
 * @throws TidemarkError where the session is lost
 */
export async function copyTogether(deps: CopierDeps, lease: Lease<Session>, tables: readonly SmallTable[]): Promise<readonly GroupAnswer[]> {
  const { session } = lease;
  const alone = tables.map(() => ALONE);
  if (session.inRecovery) return alone;
  const names = await presentNames(session, tables.map(({ plan }) => plan.table.sourceTableId));
  const present = tables.filter(({ plan }) => names.has(plan.table.sourceTableId));
  const [first] = present;
  if (first === undefined) return tables.map(({ plan }) => gone(plan.table, 'the table is not there any more'));
  await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  try {
    await session.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
    await session.query(`LOCK TABLE ${[...names.values()].map((name) => `ONLY ${name}`).join(', ')} IN ACCESS SHARE MODE NOWAIT`);
    const { answers, cut } = await new GroupCopy(deps, session, names).run(present);
    if (!cut) {
      await session.query('COMMIT');
      lease.keep();
    }
    return tables.map((table) => answers.get(table) ?? gone(table.plan.table, 'the table is not there any more'));
  } catch (error) {
    // Each by itself finds out which of them it was. A lost connection is nobody's fault.
    if (!(error instanceof TidemarkError) || (lockRefusal(error) === null && error.retry === 'auto' && error.code !== 'POSTGRES_COPY_LOCKED')) throw error;
    await session.query('ROLLBACK');
    lease.keep();
    return alone;
  }
}

class GroupCopy {
  readonly #deps: CopierDeps;
  readonly #session: Session;
  readonly #names: ReadonlyMap<string, string>;

  constructor(deps: CopierDeps, session: Session, names: ReadonlyMap<string, string>) {
    this.#deps = deps;
    this.#session = session;
    this.#names = names;
  }

  /** `cut`: the session is in the middle of a COPY. */
  async run(tables: readonly SmallTable[]): Promise<{ answers: Map<SmallTable, GroupAnswer>; cut: boolean }> {
    const deps = this.#deps;
    const session = this.#session;
    const snapshot = await snapshotView(session);
    await checkNames(session, this.#names, (tables[0] as SmallTable).plan.table);
    const ids = tables.map(({ plan }) => plan.table.sourceTableId);
    const described = new Map((await deps.describe(session, ids)).map((table) => [table.schema.sourceTableId, table]));
    const identity = await deps.identity(session);
    const bytes = await this.#sizes(ids);
    const answers = new Map<SmallTable, GroupAnswer>();
    let spooled = 0;
    let cut = false;
    for (const small of tables) {
      const { table, estimatedBytes } = small.plan;
      const now = described.get(table.sourceTableId);
      const why = now === undefined ? 'the table is not there any more' : whyVoid(small.state, copyStateOf(now, identity, small.state.mode));
      if (now === undefined || why !== null) {
        answers.set(small, gone(table, why ?? ''));
      } else if (cut || spooled > GROUP_BYTES || (bytes.get(table.sourceTableId) ?? Infinity) > 2 * estimatedBytes + (64 << 10)) {
        answers.set(small, ALONE);
      } else {
        const spool = new Spool(TABLE_BYTES);
        const how = await fillSpool(deps, session, spool, now, copyTids(now.schema, this.#names.get(table.sourceTableId) ?? '', small.range), BUFFER_BYTES);
        spooled += spool.bytes;
        cut = how === 'enough';
        const view = { ...snapshot, systemId: identity.systemId };
        answers.set(small, cut ? ALONE : new SpooledChunk({ schema: now.schema, range: formatTidRange(small.range), rest: null, sight: sightOf(view), spool }));
      }
    }
    return { answers, cut };
  }

  /** As they are at most under the snapshot: what came after it counts, too. */
  async #sizes(ids: readonly string[]): Promise<Map<string, number>> {
    const rows = await this.#session.prepared('SELECT oid::text AS oid, pg_table_size(oid)::text AS bytes FROM unnest($1::oid[]) AS t(oid)', [`{${ids.join(',')}}`]);
    return new Map(rows.map((row) => [row['oid'] ?? '', Number(row['bytes'] ?? Infinity)]));
  }
}
