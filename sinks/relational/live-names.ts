/** Which tables of the log stand under which names at a replica, so that two never share one. */
import type { Catalog } from '../../contracts/catalog.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { SinkBatch } from '../../contracts/sink.ts';
import { type NameRules, printedName, targetName } from './names.ts';

/**
 * Follows a sink's batches. Two tables of different names at the source that would be one table at the replica would empty
 * and overwrite each other: the second is refused. Tables that hand a name on have, for a moment, the same name at the
 * source, too, and are let be.
 */
export class LiveNames {
  readonly #rules: NameRules;
  readonly #byId = new Map<number, { readonly name: string; readonly source: string }>();
  readonly #byName = new Map<string, { readonly tableId: number; readonly source: string }>();

  constructor(rules: NameRules) {
    this.#rules = rules;
  }

  /** From a checkpoint on. @throws TidemarkError `REPLICA_NAMES` */
  begin(catalog: Catalog, offset: Offset): void {
    this.#byId.clear();
    this.#byName.clear();
    for (const { versions, state } of catalog.tables()) {
      const schema = versions.findLast((version) => version.offset <= offset)?.schema;
      if (schema !== undefined && (state.state !== 'removed' || state.at > offset)) this.#take(schema);
    }
  }

  /** @throws TidemarkError `REPLICA_NAMES` with both names */
  follow({ steps }: SinkBatch): void {
    for (const step of steps) {
      if (step.kind === 'schema') this.#take(step.after);
      else if (step.kind === 'table-state' && step.state === 'removed') this.#leave(step.table.tableId);
    }
  }

  #take(schema: TableSchema): void {
    const { tableId } = schema;
    const name = printedName(targetName(this.#rules, schema));
    const source = tableName(schema);
    const holder = this.#byName.get(name);
    if (holder !== undefined && holder.tableId !== tableId && holder.source !== source) {
      throw new TidemarkError('REPLICA_NAMES', `${holder.source} and ${source} would both be ${name} at the replica`, {
        where: { table: source }, remedy: 'Give one of them another name with `as`, or leave it out with `!schema.table`.',
      });
    }
    this.#leave(tableId);
    this.#byId.set(tableId, { name, source });
    this.#byName.set(name, { tableId, source });
  }

  #leave(tableId: number): void {
    const held = this.#byId.get(tableId);
    this.#byId.delete(tableId);
    if (held !== undefined && this.#byName.get(held.name)?.tableId === tableId) this.#byName.delete(held.name);
  }
}
