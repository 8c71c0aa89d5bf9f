/** What each statement of the binlog does to the tables of the log. */
import type { ErrorCode } from '../../../contracts/errors/catalogue.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName } from '../../../contracts/schema.ts';
import type { SourceTables } from '../catalog/source-tables.ts';
import type { TableRef } from '../catalog/table-reading.ts';
import type { AlterTable, UnloggedRows } from '../ddl/alter-table.ts';
import { applyAlter } from '../ddl/apply-alter.ts';
import type { TableName } from '../ddl/context.ts';
import type { CreateTable } from '../ddl/create-table.ts';
import { touches, type Mentions, type StatementEffect } from '../ddl/effects.ts';
import { DEFAULT } from '../ddl/table-options.ts';
import { whyVolatile } from '../requirements.ts';
import type { Identities } from './identities.ts';
import { shapeOf, type LogTables } from './log-tables.ts';
import type { PendingRecord } from './pending-record.ts';
import type { ReadStatement } from './statement-reading.ts';
import { nameOf, refOf, tableKey, type TrackedTable } from './tracked-tables.ts';

const NONE: readonly PendingRecord[] = [];

const UNLOGGED: Readonly<Record<UnloggedRows, string>> = {
  'partition dropped': 'a partition was dropped with its rows',
  'partition truncated': 'a partition was truncated',
  'partition exchanged': 'a partition was exchanged with a table',
  'partition converted': 'a partition was made a table, or a table a partition',
  tablespace: 'its tablespace was discarded or imported',
  'duplicates dropped': 'rows that were in the way of a key were dropped (ALTER IGNORE)',
};

/** What a statement is refused with that makes its table unknown. */
const UNFOLLOWED: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['MYSQL_SHAPE', 'MYSQL_COLUMN_RULE', 'MYSQL_CASCADE', 'MYSQL_ENGINE']);

export interface FollowerParts {
  readonly source: SourceTables;
  readonly identities: Identities;
  /** A table that the log wants, or whose columns are not known, is to be read at the server. */
  readonly want: (table: TableRef) => void;
  /** What foreign keys change in the table is in the binlog, or is done without. */
  readonly mayCascade: (table: TableRef) => boolean;
}

export class StatementFollower {
  readonly #log: LogTables;
  readonly #source: SourceTables;
  readonly #identities: Identities;
  readonly #want: FollowerParts['want'];
  readonly #mayCascade: FollowerParts['mayCascade'];

  constructor(log: LogTables, { source, identities, want, mayCascade }: FollowerParts) {
    this.#log = log;
    this.#source = source;
    this.#identities = identities;
    this.#want = want;
    this.#mayCascade = mayCascade;
  }

  follow(read: ReadStatement): readonly PendingRecord[] {
    const { effect } = read;
    switch (effect.kind) {
      case 'nothing':
      case 'transaction':
      case 'alter-database':
        return NONE;
      case 'create-table':
        return this.#create(effect);
      case 'drop-tables':
        return effect.tables.flatMap((table) => this.#drop(table));
      case 'truncate-table': {
        const table = this.#of(effect.table);
        return table === undefined ? NONE : this.#log.truncate(table);
      }
      case 'rename-tables':
        return this.#rename(effect.renames);
      case 'alter-table':
        return this.#alter(effect, read);
      case 'create-database':
        return effect.orReplace ? this.#dropDatabase(effect.database) : NONE;
      case 'drop-database':
        return this.#dropDatabase(effect.database);
      case 'statement-rows': {
        const table = this.#of(effect.table);
        return table === undefined ? NONE : this.#stopFor(table, effect.verb);
      }
      case 'statement-rows-among':
        return this.#among(effect, (table) => this.#stopFor(table, effect.verb));
      case 'unknown':
        return this.#among(effect, (table) => this.#blind(table, `a statement that may change it is not understood: ${effect.reason}`));
    }
  }

  /** The statement met an error on its way: how far it came is not said. */
  unsure(effect: StatementEffect): readonly PendingRecord[] {
    const met = [...this.#log.tables.all()].filter(({ schema }) => touches(effect, nameOf(schema)));
    return met.flatMap((table) => this.#blind(table, 'a statement that changes it ended with an error, half done perhaps'));
  }

  #of(table: TableName): TrackedTable | undefined {
    return this.#log.tables.byKey(tableKey(table));
  }

  #create({ table, ifNotExists }: CreateTable): readonly PendingRecord[] {
    const known = this.#of(table);
    // It may have been there: then nothing has happened.
    if (known !== undefined && ifNotExists) return NONE;
    this.#identities.forget(tableKey(table));
    this.#wantSelected(table);
    return known === undefined ? NONE : this.#log.remove(known);
  }

  #drop(table: TableName): readonly PendingRecord[] {
    this.#identities.forget(tableKey(table));
    const known = this.#of(table);
    return known === undefined ? NONE : this.#log.remove(known);
  }

  #dropDatabase(database: string): readonly PendingRecord[] {
    this.#identities.forgetDatabase(database);
    const gone = [...this.#log.tables.all()].filter(({ schema }) => schema.namespace === database);
    return gone.flatMap((table) => this.#log.remove(table));
  }

  /** One by one, so that names which are given away may be taken again; a table that comes back to its name has not moved. */
  #rename(renames: readonly { readonly from: TableName; readonly to: TableName }[]): readonly PendingRecord[] {
    // Under each name that is met: the table that has it by then; null: none has.
    const moving = new Map<string, { readonly table: TrackedTable | undefined | null; readonly name: TableName }>();
    const at = (name: TableName): TrackedTable | undefined => {
      const moved = moving.get(tableKey(name));
      return moved === undefined ? this.#of(name) : (moved.table ?? undefined);
    };
    for (const { from, to } of renames) {
      const table = at(from);
      moving.set(tableKey(from), { table: null, name: from });
      moving.set(tableKey(to), { table, name: to });
      this.#identities.renamed(tableKey(from), tableKey(to));
    }
    const left: PendingRecord[] = [];
    const arrived: PendingRecord[] = [];
    const settled = new Set([...moving.values()].flatMap(({ table }) => table?.schema.sourceTableId ?? []));
    for (const { table, name } of moving.values()) {
      const there = this.#of(name);
      // Its name was taken by a table that the log does not know of, so that it cannot have been there any more.
      if (there !== undefined && !settled.has(there.schema.sourceTableId)) left.push(...this.#log.remove(there));
      if (table === undefined) this.#wantSelected(name);
    }
    for (const { table, name } of moving.values()) if (table !== undefined && table !== null) arrived.push(...this.#move(table, name));
    return [...left, ...arrived];
  }

  #move(table: TrackedTable, name: TableName): readonly PendingRecord[] {
    const to = refOf(name);
    if (tableName(to) === tableName(table.schema)) return NONE;
    if (!this.#source.config.tables(to)) return this.#log.remove(table);
    if (table.blind !== null) this.#want(to);
    return this.#guarded(table, () => this.#log.rename(table, to));
  }

  #alter(alter: AlterTable, read: ReadStatement): readonly PendingRecord[] {
    const { other, unlogged, renameTo } = alter;
    const records: PendingRecord[] = [];
    if (other !== null) records.push(...this.#alterOther(other, unlogged));
    const table = this.#of(alter.table);
    if (table === undefined) {
      if (renameTo !== null) records.push(...this.#rename([{ from: alter.table, to: renameTo }]));
      return records;
    }
    if (renameTo !== null) this.#identities.renamed(tableKey(alter.table), tableKey(renameTo));
    if (table.blind !== null) {
      // Where it could not be captured as it was, it may be now.
      if (renameTo === null) this.#want(refOf(alter.table));
      return renameTo === null ? records : [...records, ...this.#move(table, renameTo)];
    }
    const to = refOf(renameTo ?? alter.table);
    if (!this.#source.config.tables(to)) return [...records, ...this.#log.remove(table)];
    records.push(...this.#guarded(table, () => {
      if (!this.#mayCascade(to)) requireNoCascade(alter);
      const volatile = alter.engine === undefined ? null : whyVolatile({ engine: alter.engine });
      if (volatile !== null) throw new TidemarkError('MYSQL_ENGINE', `the table ${volatile}`);
      requireClear(alter, read);
      const altered = applyAlter(shapeOf(table), alter, read.defaults);
      return this.#log.change(table, to, altered, unlogged === null ? null : UNLOGGED[unlogged]);
    }, to));
    return records;
  }

  /** The table that a partition is exchanged with, or becomes, or is made of. */
  #alterOther(other: TableName, unlogged: UnloggedRows | null): readonly PendingRecord[] {
    const table = this.#of(other);
    if (table === undefined) {
      this.#wantSelected(other);
      return NONE;
    }
    const why = UNLOGGED[unlogged ?? 'partition exchanged'];
    if (unlogged === 'partition converted') this.#identities.forget(tableKey(other));
    return unlogged === 'partition converted' ? this.#log.remove(table) : this.#log.stop(table, 'MYSQL_TABLE_REWRITTEN', why, true);
  }

  #among({ names, everything }: Mentions, act: (table: TrackedTable) => readonly PendingRecord[]): readonly PendingRecord[] {
    const meant = [...this.#log.tables.all()].filter(({ schema }) => everything || names.has(schema.name));
    return meant.flatMap(act);
  }

  /** Its columns are as before; its rows are not. */
  #stopFor(table: TrackedTable, verb: string): readonly PendingRecord[] {
    if (table.blind !== null) return NONE;
    return this.#log.stop(table, 'MYSQL_STATEMENT_ROWS', `the binlog has a statement (${verb}) in place of rows that it changed`, true);
  }

  #blind(table: TrackedTable, why: string): readonly PendingRecord[] {
    this.#want({ namespace: table.schema.namespace, name: table.schema.name });
    return this.#log.blind(table, new TidemarkError('MYSQL_STATEMENT', why, { where: { table: tableName(table.schema) } }));
  }

  /** What cannot be followed makes the table unknown; it is read again, under the name that it has by then. */
  #guarded(table: TrackedTable, act: () => readonly PendingRecord[], to: TableRef | null = null): readonly PendingRecord[] {
    try {
      return act();
    } catch (error) {
      if (!(error instanceof TidemarkError) || !UNFOLLOWED.has(error.code)) throw error;
      const records = this.#log.blind(table, error.at({ table: tableName(table.schema) }));
      const known = this.#log.tables.get(table.schema.sourceTableId);
      const name = to ?? table.schema;
      this.#want({ namespace: name.namespace, name: name.name });
      if (known === undefined || to === null || tableName(to) === tableName(known.schema)) return records;
      return [...records, ...this.#log.rename(known, to)];
    }
  }

  #wantSelected(name: TableName): void {
    const table = refOf(name);
    if (this.#source.config.tables(table)) this.#want(table);
  }
}

/** Whether the table is refused for it shows its definition, once it has been read. @throws TidemarkError `MYSQL_CASCADE` */
function requireNoCascade({ operations }: AlterTable): void {
  const cascades = operations.some((operation) => {
    if (operation.kind === 'add-key') return operation.key.cascades === true;
    return (operation.kind === 'add-column' || operation.kind === 'change-column') && operation.column.cascades === true;
  });
  if (cascades) throw new TidemarkError('MYSQL_CASCADE', 'a foreign key was added that changes its rows without a trace in the binlog');
}

/** @throws TidemarkError `MYSQL_SHAPE` when the statement leaves to its database or session what is not known here */
function requireClear({ operations }: AlterTable, { isUnclear }: ReadStatement): void {
  const charsets = operations.flatMap((operation) => (operation.kind === 'default-charset' || operation.kind === 'convert-charset' ? [operation.charset] : []));
  if (charsets.some(({ charset }) => charset === DEFAULT)) throw new TidemarkError('MYSQL_SHAPE', "an ALTER TABLE takes its database's character set, which is not known here");
  if (isUnclear && operations.some(({ kind }) => kind !== 'drop-column' && kind !== 'drop-key' && kind !== 'rename-column')) {
    throw new TidemarkError('MYSQL_SHAPE', 'an ALTER TABLE was run under a default collation that is not known here');
  }
}
