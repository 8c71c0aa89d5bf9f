import type { ModelRow, ModelTable, SinkModel } from './sink-model.ts';

/** Changes of one table of a model by id, its first column. */
export class ModelChanges {
  readonly #model: SinkModel;
  readonly table: ModelTable;

  constructor(model: SinkModel, table: ModelTable) {
    this.#model = model;
    this.table = table;
  }

  insert(id: number, name: string): void {
    this.#model.insert(this.table, kitRow(id, name));
  }

  update(id: number, name: string): void {
    this.#model.update(this.table, this.row(id), kitRow(id, name));
  }

  /** Inserts, or updates what is there. */
  put(id: number, name: string): void {
    this.putRow(kitRow(id, name));
  }

  putRow(row: ModelRow): void {
    const old = this.#find(Number(row[0]));
    if (old === undefined) this.#model.insert(this.table, row);
    else this.#model.update(this.table, old, row);
  }

  updateRow(id: number, change: (row: ModelRow & unknown[]) => ModelRow): void {
    const row = this.row(id);
    this.#model.update(this.table, row, change([...row]));
  }

  remove(id: number): void {
    this.#model.delete(this.table, this.row(id));
  }

  /** Rows move to other ids at once. */
  rekey(moves: readonly (readonly [from: number, to: number])[]): void {
    const rows = moves.map(([from, to]) => {
      const old = this.row(from);
      return { old, row: [String(to), ...old.slice(1)] };
    });
    this.#model.rekey(this.table, rows);
  }

  /** One change of a random kind. */
  random(next: () => number, rowOf: (id: number) => ModelRow): void {
    const id = Math.floor(next() * 60);
    const old = this.#find(id);
    const kind = next();
    if (kind < 0.02) this.#model.truncate(this.table);
    else if (old === undefined || kind < 0.5) this.putRow(rowOf(id));
    else if (kind < 0.75) this.#model.delete(this.table, old);
    else this.#move(old, Math.floor(next() * 60), rowOf);
  }

  row(id: number): ModelRow {
    const row = this.#find(id);
    if (row === undefined) throw new Error(`the model has no row ${id}`);
    return row;
  }

  #move(old: ModelRow, to: number, rowOf: (id: number) => ModelRow): void {
    const there = this.#find(to);
    if (there === old) return;
    if (there !== undefined) this.#model.delete(this.table, there);
    this.#model.update(this.table, old, rowOf(to));
  }

  #find(id: number): ModelRow | undefined {
    return this.table.expected().find((row) => row[0] === String(id));
  }
}

function kitRow(id: number, name: string): ModelRow {
  return [String(id), name, null, Buffer.from([id & 255]), 't'];
}
