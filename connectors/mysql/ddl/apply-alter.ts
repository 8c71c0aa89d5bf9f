import type { AlterOperation, AlterTable } from './alter-table.ts';
import { columnDefault, columnShape, fillOf, hasCollation } from './apply-column.ts';
import { notNullInPrimary } from './apply-create.ts';
import { PRIMARY, addKey, prefixLength } from './apply-keys.ts';
import { type CharsetDefaults, type ResolvedCharset, charsetOfCollation, resolveCharset, resolvedCollation } from './charsets.ts';
import type { ColumnDefinition, ColumnPlace } from './column-definition.ts';
import { SQL_MODE, type SqlContext, foldCase, sameName } from './context.ts';
import { typeOfText } from './text-type.ts';
import { functionalParts, type ColumnShape, type Fill, type KeyShape, type TableShape } from './shape.ts';
import { doesNotFit } from './shape-error.ts';
import { convertedType } from './type-text.ts';
import { keepsValues } from './value-change.ts';

export interface AlteredTable {
  readonly shape: TableShape;
  /** By number, what rows that were there before hold in each column that was added. */
  readonly added: ReadonlyMap<number, Fill>;
  /**
   * Numbers of columns that were there, whose values in the rows may be others than before, without an event for any
   * row: a change of type that rounds, cuts or pads, NULLs made into something else, generated columns.
   */
  readonly rewritten: ReadonlySet<number>;
}

type Operation<K extends AlterOperation['kind']> = Extract<AlterOperation, { kind: K }>;

/** A column on its way through the statement. */
interface Slot {
  column: ColumnShape;
  /** Its name before the statement; null: it is new. */
  readonly before: string | null;
  readonly definition: ColumnDefinition | null;
}

/**
 * The table after an ALTER TABLE. As on the server, names in the statement are those of before it, wherever they stand,
 * but FIRST and AFTER and the columns of new keys go by the names of after it.
 *
 * Numbers stay with a column through rename and change; a column dropped and added again under its name is another one.
 * @throws TidemarkError `MYSQL_SHAPE` when the statement cannot have been run on this shape
 */
export function applyAlter(before: TableShape, alter: AlterTable, defaults: CharsetDefaults): AlteredTable {
  const operations = effective(before, alter.operations);
  const application = new Application(before, alter, operations, defaults);
  return application.run();
}

/** Without the operations that IF EXISTS and IF NOT EXISTS take away. */
function effective(before: TableShape, operations: readonly AlterOperation[]): AlterOperation[] {
  const columns = new Set(before.columns.map(({ name }) => foldCase(name)));
  const keys = new Set(before.keys.map(({ name }) => foldCase(name)));
  const added = new Set<string>();
  return operations.filter((operation) => {
    switch (operation.kind) {
      case 'add-column': {
        const name = foldCase(operation.column.name);
        const there = columns.has(name) || added.has(name);
        added.add(name);
        return !(operation.ifNotExists && there);
      }
      case 'drop-column':
      case 'change-column':
      case 'rename-column':
      case 'set-default':
        return !operation.ifExists || columns.has(foldCase(operation.name));
      case 'drop-key':
      case 'rename-key':
        return !operation.ifExists || keys.has(foldCase(operation.name));
      case 'add-key':
        return !operation.key.ifNotExists || !keys.has(foldCase(operation.key.name ?? operation.key.parts[0]?.column ?? ''));
      case 'set-visible':
      case 'drop-constraint':
      case 'drop-primary-key':
      case 'default-charset':
      case 'convert-charset':
      case 'system-versioning':
        return true;
    }
  });
}

class Application {
  readonly #before: TableShape;
  readonly #alter: AlterTable;
  readonly #operations: readonly AlterOperation[];
  readonly #defaults: CharsetDefaults;
  readonly #table: ResolvedCharset;
  readonly #converts: ResolvedCharset | null;
  readonly #slots: Slot[] = [];
  #next: number;

  constructor(before: TableShape, alter: AlterTable, operations: readonly AlterOperation[], defaults: CharsetDefaults) {
    this.#before = before;
    this.#alter = alter;
    this.#operations = operations;
    this.#defaults = defaults;
    this.#next = before.nextNumber;
    const present = resolvedCollation(before.collation);
    let [table, converts]: (ResolvedCharset | null)[] = [null, null];
    for (const operation of operations) {
      if (operation.kind === 'default-charset') table = resolveCharset(operation.charset, table ?? present, alter.context, defaults);
      if (operation.kind === 'convert-charset') converts = resolveCharset(operation.charset, present, alter.context, defaults);
    }
    // Where MariaDB is told both, the default counts for what is added later.
    this.#table = table ?? converts ?? present;
    this.#converts = converts ?? null;
  }

  run(): AlteredTable {
    this.#keepAndChange();
    this.#addAndMove();
    if (this.#slots.length === 0) throw doesNotFit('an ALTER TABLE leaves no column');
    if (this.#converts !== null) for (const slot of this.#slots) slot.column = converted(slot.column, this.#converts, this.#alter.context);
    const slots = this.#slots;
    const names = new Set(slots.map(({ column }) => foldCase(column.name)));
    if (names.size !== slots.length) throw doesNotFit('an ALTER TABLE leaves two columns of one name');
    const columns = slots.map(({ column }) => column);
    const keys = this.#keys(columns);
    const added = new Map<number, Fill>();
    const final = notNullInPrimary(columns, keys);
    for (const column of final) {
      const slot = slots.find((candidate) => candidate.column.number === column.number);
      if (slot?.before === null && slot.definition !== null) added.set(column.number, fillOf(column, slot.definition));
    }
    const rewritten = this.#rewritten(final);
    const versioning = this.#of('system-versioning').at(-1)?.on ?? this.#before.systemVersioned;
    const shape = { columns: final, keys, nextNumber: this.#next, collation: this.#table.collation, systemVersioned: versioning };
    return { shape: this.#hidesInside(keys) ? { ...shape, hiddenInside: true } : shape, added, rewritten };
  }

  /** A column that is added behind all is behind the hidden ones of indexes over expressions, too. */
  #hidesInside(keys: readonly KeyShape[]): boolean {
    const before = this.#before;
    if (functionalParts(keys) === 0 || functionalParts(before.keys) === 0) return false;
    return before.hiddenInside === true || this.#of('add-column').some(({ place }) => place === null);
  }

  #of<K extends AlterOperation['kind']>(kind: K): Operation<K>[] {
    return this.#operations.filter((operation): operation is Operation<K> => operation.kind === kind);
  }

  /** The columns that were there, in their order, less those dropped, changed where they stand. */
  #keepAndChange(): void {
    const dropped = new Set(this.#of('drop-column').map(({ name }) => foldCase(name)));
    const changes = this.#of('change-column');
    const renames = this.#of('rename-column');
    const known = new Set(this.#before.columns.map(({ name }) => foldCase(name)));
    for (const name of [...dropped, ...[...changes, ...renames].map((operation) => foldCase(operation.name))]) {
      if (!known.has(name)) throw doesNotFit(`a column ${name} is dropped or changed, which is not there`);
    }
    for (const column of this.#before.columns) {
      if (dropped.has(foldCase(column.name))) continue;
      const change = changes.find(({ name }) => sameName(name, column.name));
      const to = renames.find(({ name }) => sameName(name, column.name))?.to ?? column.name;
      const next = change === undefined ? { ...this.#altered(column), name: to } : this.#defined(change.column, column.number);
      this.#slots.push({ column: next, before: column.name, definition: null });
    }
  }

  #defined(definition: ColumnDefinition, number: number): ColumnShape {
    return columnShape(definition, number, { context: this.#alter.context, defaults: this.#defaults, table: this.#table });
  }

  /** SET and DROP DEFAULT, SET VISIBLE. */
  #altered(column: ColumnShape): ColumnShape {
    let next = column;
    for (const operation of this.#operations) {
      if (operation.kind === 'set-default' && sameName(operation.name, column.name)) {
        next = { ...next, default: columnDefault(operation.default, typeOfText(column.type), column.type) };
      }
      if (operation.kind === 'set-visible' && sameName(operation.name, column.name)) next = { ...next, invisible: !operation.visible };
    }
    return next;
  }

  /** New columns, and changed ones that move, one after the other as the statement has them. */
  #addAndMove(): void {
    for (const operation of this.#operations) {
      if (operation.kind === 'add-column') {
        const column = this.#defined(operation.column, this.#next++);
        this.#put({ column, before: null, definition: operation.column }, operation.place);
      } else if (operation.kind === 'change-column' && operation.place !== null) {
        const at = this.#slots.findIndex(({ before }) => before !== null && sameName(before, operation.name));
        const [slot] = this.#slots.splice(at, 1);
        if (slot !== undefined) this.#put(slot, operation.place);
      }
    }
  }

  #put(slot: Slot, place: ColumnPlace): void {
    if (place === null) {
      this.#slots.push(slot);
    } else if (place.kind === 'first') {
      this.#slots.unshift(slot);
    } else {
      const at = this.#slots.findIndex(({ column }) => sameName(column.name, place.column));
      if (at < 0) throw doesNotFit(`a column is put behind ${place.column}, which is not there`);
      this.#slots.splice(at + 1, 0, slot);
    }
  }

  #rewritten(final: readonly ColumnShape[]): Set<number> {
    const rewritten = new Set<number>();
    const strict = (this.#alter.context.sqlMode & (SQL_MODE.STRICT_TRANS_TABLES | SQL_MODE.STRICT_ALL_TABLES)) !== 0n && this.#alter.unlogged === null;
    const redefined = new Set(this.#of('change-column').map(({ name }) => foldCase(name)));
    for (const before of this.#before.columns) {
      const after = final.find(({ number }) => number === before.number);
      if (after === undefined) continue;
      // An expression may be another one though the column looks the same.
      const isSame = !redefined.has(foldCase(before.name)) && before.type === after.type && before.collation === after.collation && before.nullable === after.nullable;
      if (!isSame && !keepsValues(before, after, strict)) rewritten.add(before.number);
    }
    // What is computed from a column that changes may change with it.
    if (rewritten.size > 0) for (const column of this.#before.columns) if (column.generated !== 'no') rewritten.add(column.number);
    return rewritten;
  }

  #keys(columns: readonly ColumnShape[]): KeyShape[] {
    const dropped = this.#droppedKeys();
    const renames = this.#of('rename-key');
    const keys: KeyShape[] = [];
    for (const key of this.#before.keys) {
      if (dropped.has(foldCase(key.name))) continue;
      const parts = key.parts.flatMap((part) => this.#keptPart(part));
      const name = renames.find((operation) => sameName(operation.name, key.name))?.to ?? key.name;
      if (parts.length > 0) keys.push({ ...key, name, parts });
    }
    for (const { name } of renames) this.#expectKey(name);
    for (const operation of this.#operations) {
      if (operation.kind === 'add-key') addKey(keys, operation.key, columns);
      if (operation.kind !== 'add-column' && operation.kind !== 'change-column') continue;
      for (const key of operation.column.keys) addKey(keys, key, columns);
    }
    return keys;
  }

  /** A part of a dropped column goes, unless the same statement adds a column of that name. */
  #keptPart(part: KeyShape['parts'][number]): KeyShape['parts'][number][] {
    if (part.column === null) return [part];
    const name = this.#before.columns.find(({ number }) => number === part.column)?.name ?? '';
    const slot = this.#slots.find((candidate) => sameName(candidate.before ?? candidate.column.name, name));
    return slot === undefined ? [] : [{ column: slot.column.number, length: prefixLength(part.length, slot.column) }];
  }

  #droppedKeys(): Set<string> {
    const dropped = new Set<string>();
    if (this.#of('drop-primary-key').length > 0) dropped.add(foldCase(PRIMARY));
    // What is not a key's name is that of a foreign key or a check.
    for (const { name } of this.#of('drop-constraint')) dropped.add(foldCase(name));
    for (const { name } of this.#of('drop-key')) {
      this.#expectKey(name);
      dropped.add(foldCase(name));
    }
    return dropped;
  }

  #expectKey(name: string): void {
    if (!this.#before.keys.some((key) => sameName(key.name, name))) throw doesNotFit(`a key ${name} is dropped or renamed, which is not there`);
  }
}

/** A column after CONVERT TO CHARACTER SET. Bytes stay bytes. */
function converted(column: ColumnShape, to: ResolvedCharset, context: SqlContext): ColumnShape {
  if (column.collation === null || column.collation === 'binary') return column;
  const from = charsetOfCollation(column.collation);
  if (/^(?:enum|set)\(/.test(column.type) && !keepsLabelBytes(column.type, from, to.charset)) {
    throw doesNotFit(`the labels of ${column.name} are converted to ${to.charset}, of which servers make other labels`);
  }
  const type = convertedType(column.type, from, to.charset);
  return { ...column, type, collation: hasCollation(type, to.collation, context) ? to.collation : null };
}

/** Servers take the bytes of labels for the new character set's, without converting them. */
function keepsLabelBytes(type: string, from: string, to: string): boolean {
  if (from === to || (from === 'utf8mb3' && to === 'utf8mb4')) return true;
  const wide = /^(?:ucs2|utf16|utf16le|utf32)$/;
  return /^[\x20-\x7e]*$/.test(type) && !wide.test(from) && !wide.test(to);
}
