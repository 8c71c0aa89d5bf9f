import type { Catalog, CatalogTable } from '../../contracts/catalog.ts';
import type { SinkConfig } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { areDisjoint, avoids, KeyTemplate, type StoredTemplate } from './key-template.ts';
import { tableOptionsOf, type ValueKind } from './options.ts';
import { encodeArgument } from './resp/command-buffer.ts';
import { rowWriter, type RowWriter } from './row-writer.ts';
import { layoutOf, type TableLayout } from './table-layout.ts';

/** A layout with what writing needs. */
export interface PreparedTable {
  readonly layout: TableLayout;
  readonly writer: RowWriter;
  /** The channel as an encoded argument. */
  readonly channel: Buffer | null;
}

/** What Redis keeps of a table's layout, so that a changed configuration is seen and old keys are found. */
export interface StoredTable {
  readonly namespace: string;
  readonly name: string;
  readonly version: number;
  readonly fingerprint: string;
  readonly value: ValueKind;
  readonly index: string | null;
  readonly template: StoredTemplate;
}

/** The tables of a sink as of where it stands in the log. Owned by the applying loop. */
export class TableSet {
  readonly #config: SinkConfig;
  readonly #ownPrefix: string;
  readonly #versions = new Map<number, TableSchema[]>();
  readonly #prepared = new Map<string, PreparedTable>();
  /** By table id: the newest generation of each name. */
  readonly #live = new Map<number, TableLayout>();
  readonly #byName = new Map<string, TableLayout>();

  /**
   * @param ownPrefix what the sink's own keys begin with
   * @param begun while the sink is filled from the log's base, the tables of which rows are there, whatever `at` says
   * @throws TidemarkError when a table cannot be mirrored, or two could write the same key
   */
  constructor(config: SinkConfig, catalog: Catalog, at: Offset, ownPrefix: string, begun: ReadonlyMap<number, StoredTable> | null = null) {
    this.#config = config;
    this.#ownPrefix = ownPrefix;
    for (const table of catalog.tables()) {
      this.#versions.set(table.tableId, table.versions.map(({ schema }) => schema));
      const newest = table.versions.at(-1)?.schema;
      if (newest !== undefined && table.state.state !== 'removed' && config.tables(newest)) this.#check(this.of(newest).layout);
    }
    for (const table of catalog.tables()) {
      const schema = begun === null ? schemaAt(table, at) : versionOf(table, begun.get(table.tableId)?.version);
      if (schema === undefined || !config.tables(schema)) continue;
      const namesake = this.namesake(schema);
      if (namesake !== null && namesake.schema.tableId > schema.tableId) continue;
      if (namesake !== null) this.goesAway(namesake.schema.tableId);
      this.#setLive(this.of(schema).layout);
    }
    for (const [a, b] of overlapsOf(this.live())) throw overlap(a, b);
  }

  /** The layout of a schema version. @throws TidemarkError */
  of(schema: TableSchema): PreparedTable {
    const name = `${schema.tableId}/${schema.version}`;
    let prepared = this.#prepared.get(name);
    if (prepared === undefined) {
      const options = tableOptionsOf(this.#config, schema);
      const layout = layoutOf(schema, this.#versionsOf(schema), options, this.#ownPrefix);
      prepared = { layout, writer: rowWriter(layout), channel: layout.channel === null ? null : encodeArgument(layout.channel) };
      this.#prepared.set(name, prepared);
    }
    return prepared;
  }

  /** The tables that have rows here. */
  live(): TableLayout[] {
    return [...this.#live.values()];
  }

  /** The live table that has the same name and is another generation. */
  namesake(schema: TableSchema): TableLayout | null {
    const found = this.#byName.get(tableName(schema));
    return found === undefined || found.schema.tableId === schema.tableId ? null : found;
  }

  isLive(tableId: number): boolean {
    return this.#live.has(tableId);
  }

  /** A table is live from here on, in this layout. @throws TidemarkError `REDIS_KEY_OVERLAP` */
  goesLive(layout: TableLayout): void {
    this.#check(layout);
    for (const other of this.#live.values()) {
      if (other.schema.tableId !== layout.schema.tableId && !areDisjoint(other.template, layout.template)) throw overlap(other, layout);
    }
    this.goesAway(layout.schema.tableId);
    this.#setLive(layout);
  }

  goesAway(tableId: number): void {
    const layout = this.#live.get(tableId);
    if (layout === undefined) return;
    this.#live.delete(tableId);
    this.#byName.delete(tableName(layout.schema));
  }

  /** Every layout that rows of the log's tables may have had under this configuration. @throws TidemarkError */
  all(): TableLayout[] {
    return [...this.#versions.values()].flat().filter(this.#config.tables).map((schema) => this.of(schema).layout);
  }

  /** Every layout that rows of one table may have had. @throws TidemarkError */
  layoutsOf(tableId: number): TableLayout[] {
    const distinct = new Map<string, TableLayout>();
    for (const schema of (this.#versions.get(tableId) ?? []).filter(this.#config.tables)) {
      const { layout } = this.of(schema);
      distinct.set(`${layout.template.fingerprint} ${layout.index}`, layout);
    }
    return [...distinct.values()];
  }

  #versionsOf(schema: TableSchema): readonly TableSchema[] {
    let versions = this.#versions.get(schema.tableId);
    if (versions === undefined) {
      versions = [];
      this.#versions.set(schema.tableId, versions);
    }
    if (!versions.some(({ version }) => version === schema.version)) versions.push(schema);
    return versions;
  }

  #setLive(layout: TableLayout): void {
    this.#live.set(layout.schema.tableId, layout);
    this.#byName.set(tableName(layout.schema), layout);
  }

  #check(layout: TableLayout): void {
    const prefix = Buffer.from(this.#ownPrefix, 'utf8');
    if (avoids(layout.template, prefix) && (layout.index === null || avoids(layout.template, Buffer.from(layout.index, 'utf8')))) return;
    const table = tableName(layout.schema);
    throw new TidemarkError('REDIS_KEY_OVERLAP', `rows of ${table} could have the name of one of the sink's own keys`, { where: { table } });
  }
}

/** For storage. */
export function storedTable({ schema, fingerprint, value, index, template }: TableLayout): StoredTable {
  const { namespace, name, version } = schema;
  return { namespace, name, version, fingerprint, value, index, template: template.toStored() };
}

/** @throws TidemarkError `REDIS_PROTOCOL` when it is not what `storedTable` wrote */
export function parseStoredTable(text: Buffer): StoredTable {
  let value: unknown;
  try {
    value = JSON.parse(text.toString('utf8'));
  } catch (cause) {
    throw new TidemarkError('REDIS_PROTOCOL', 'what Redis keeps of a table is not JSON', { cause, retry: 'operator' });
  }
  if (!isStoredTable(value)) throw new TidemarkError('REDIS_PROTOCOL', 'what Redis keeps of a table lacks a field', { retry: 'operator' });
  return value;
}

function isStoredTable(value: unknown): value is StoredTable {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof StoredTable, unknown>>;
  return (
    typeof v.namespace === 'string' && typeof v.name === 'string' && typeof v.version === 'number' && typeof v.fingerprint === 'string' &&
    typeof v.value === 'string' && (typeof v.index === 'string' || v.index === null) && typeof v.template === 'object' && v.template !== null
  );
}

/**
 * Why what is in Redis does not fit the configuration any more, so that the sink must be rebuilt; null when it fits.
 * A table that the log has removed meanwhile is no reason: its removal is still to come. Nor is one that is mirrored
 * newly: the hub brings it in at the checkpoint.
 */
export function whyOutdated(
  stored: ReadonlyMap<number, StoredTable>, catalog: Catalog, config: SinkConfig, tables: TableSet,
): string | null {
  for (const [tableId, was] of stored) {
    const table = catalog.table(tableId);
    if (table === undefined) {
      if (!config.tables(was)) return `${tableName(was)} is not mirrored any more`;
      continue;
    }
    const schema = table.versions[was.version - 1]?.schema;
    if (schema === undefined || tables.of(schema).layout.fingerprint !== was.fingerprint) return `${tableName(was)} is to be kept in another way`;
  }
  return null;
}

/** What a stored table's keys looked like. */
export function storedTemplate(stored: StoredTable): KeyTemplate {
  return KeyTemplate.fromStored(stored.template);
}

function versionOf(table: CatalogTable, version: number | undefined): TableSchema | undefined {
  return table.versions.find(({ schema }) => schema.version === version)?.schema;
}

function schemaAt(table: CatalogTable, offset: Offset): TableSchema | undefined {
  if (table.state.state === 'removed' && table.state.at <= offset) return undefined;
  return table.versions.findLast((version) => version.offset <= offset)?.schema;
}

/**
 * The pairs of tables that could write the same key. Only those need comparing of which one begins as the other does:
 * sorted by prefix, these stand behind one another.
 */
export function* overlapsOf(layouts: readonly TableLayout[]): Iterable<readonly [TableLayout, TableLayout]> {
  const sorted = layouts.toSorted((a, b) => Buffer.compare(a.template.prefix, b.template.prefix));
  const enclosing: TableLayout[] = [];
  for (const layout of sorted) {
    for (let last = enclosing.at(-1); last !== undefined; last = enclosing.at(-1)) {
      if (layout.template.prefix.indexOf(last.template.prefix) === 0) break;
      enclosing.pop();
    }
    for (const other of enclosing) if (!areDisjoint(other.template, layout.template)) yield [other, layout];
    enclosing.push(layout);
  }
}

function overlap(a: TableLayout, b: TableLayout): TidemarkError {
  const [first, second] = [tableName(a.schema), tableName(b.schema)];
  return new TidemarkError('REDIS_KEY_OVERLAP', `rows of ${first} and of ${second} could have the same Redis key`, { where: { table: second } });
}
