/** What a rebuild decides, as functions without I/O. */
import type { Catalog, CatalogTable } from '../../contracts/catalog.ts';
import type { Checkpoint } from '../../contracts/checkpoint.ts';
import type { Finding } from '../../contracts/finding.ts';
import type { ReadPlan } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { TableSelector } from '../../contracts/sink.ts';

/** A stretch that took less is so short that the sink may wait for the next one, in milliseconds. */
const SHORT_MS = 500;
/** So many stretches one after the other that are no shorter than one before them: the shadow comes no nearer. */
const FRUITLESS = 2;
/** Each may be a little shorter than the one before, for ever. */
const MOST_STRETCHES = 30;

/**
 * True when the sink may be held now: what it has been given meanwhile is applied to the shadow in no time, or another
 * stretch would not make that shorter. A stretch brings the shadow what the sink was given during the one before it. At a
 * steady rate of writes one that took no less time than the one before has therefore left no less to the next, which takes
 * no less either, and so on: the sink waits for such a stretch whenever it is held. A rate is not steady and a machine may
 * be busy for once, so it takes two, measured by the shortest before them.
 * @param stretches milliseconds that each took by which the shadow came nearer, in order; one at least
 */
export function isNear(stretches: readonly number[]): boolean {
  const before = Math.min(...stretches.slice(0, -FRUITLESS));
  const isFruitless = stretches.length > FRUITLESS && stretches.slice(-FRUITLESS).every((ms) => ms >= before);
  return (stretches.at(-1) ?? 0) < SHORT_MS || isFruitless || stretches.length >= MOST_STRETCHES;
}

/** Where the shadow is led to next while the sink goes on. */
export interface Leading {
  /** What was asked for. */
  readonly to: Offset | null;
  /** The sink's checkpoint; null: it has failed, and does not stand anywhere that it could go on from. */
  readonly standing: Offset | null;
  readonly horizon: Offset;
  readonly highWatermark: Offset;
}

export function nextEnd({ to, standing, horizon, highWatermark }: Leading): Offset {
  if (to !== null) return to;
  // A sink at 0 has nothing yet.
  return standing === null || standing === 0 || standing < horizon ? highWatermark : Math.min(standing, highWatermark);
}

/** What is to be done once the sink is held and its checkpoint is known. */
export type SwapDecision =
  /** Lead the shadow to `at`, then put it in the sink's place. */
  | { readonly kind: 'swap'; readonly at: Offset }
  /** The shadow has been led past the sink, and only some of its tables are rebuilt: it is filled anew. */
  | { readonly kind: 'again' }
  /** Some tables can only join where the sink stands, and it stands nowhere. */
  | { readonly kind: 'nowhere' };

export interface Swapping {
  readonly to: Offset | null;
  readonly whole: boolean;
  /** Where the shadow stands. */
  readonly shadow: Offset;
  /** The sink's checkpoint, and what the log says of it. */
  readonly checkpoint: Checkpoint | null;
  readonly plan: ReadPlan;
  /** The sink had failed before it was held. */
  readonly failed: boolean;
}

export function swapDecision({ to, whole, shadow, checkpoint, plan, failed }: Swapping): SwapDecision {
  if (to !== null) return { kind: 'swap', at: to };
  const standing = checkpoint !== null && checkpoint.offset > 0 && plan.kind === 'resume' ? checkpoint.offset : null;
  if (!whole) {
    if (standing === null) return { kind: 'nowhere' };
    return shadow > standing ? { kind: 'again' } : { kind: 'swap', at: standing };
  }
  return { kind: 'swap', at: standing === null || failed ? shadow : Math.max(shadow, standing) };
}

/** The tables that the log had as of `at`, with their schema there, and those that came later, with the one that they begin with. */
export function tablesAt(catalog: Catalog, at: Offset, selects: TableSelector): { readonly there: TableSchema[]; readonly notYet: TableSchema[] } {
  const there: TableSchema[] = [];
  const notYet: TableSchema[] = [];
  for (const table of catalog.tables()) {
    const version = table.versions.findLast(({ offset }) => offset <= at);
    const [first] = table.versions;
    if (version === undefined) {
      if (first !== undefined && table.versions.some(({ schema }) => selects(schema))) notYet.push(first.schema);
    } else if (selects(version.schema) && !(table.state.state === 'removed' && table.state.at <= at)) there.push(version.schema);
  }
  return { there, notYet };
}

/** What is worth knowing of an offset to which a sink is to be put: tables that were not equal to the source there. */
export function inconsistentAt(catalog: Catalog, at: Offset, selects: TableSelector): Finding[] {
  return catalog.tables().flatMap((table): Finding[] => {
    const version = table.versions.findLast(({ offset }) => offset <= at);
    if (version === undefined || !selects(version.schema) || (table.state.state === 'removed' && table.state.at <= at)) return [];
    if (isConsistentAt(table, at)) return [];
    return [{
      severity: 'warning',
      code: 'rebuild-inconsistent',
      table: tableName(version.schema),
      what: `as of offset ${at} the table was not equal to the source: it was being copied, or had stopped`,
      remedy: '`tidemark tables` lists the ranges in which each table is consistent; choose an offset in one of them.',
    }];
  });
}

function isConsistentAt({ consistent }: CatalogTable, at: Offset): boolean {
  return consistent.some((range) => range.from <= at && (range.to === null || at <= range.to));
}
