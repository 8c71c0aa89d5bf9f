/** From the checked sections of the file to the configuration of one source or sink. */
import type { ColumnRules, Options, SinkConfig, SourceConfig } from '../../contracts/config.ts';
import { TidemarkError, asTidemarkError } from '../../contracts/errors/error.ts';
import { pointerTo } from './document.ts';
import type { SinkSection, SourceSection } from './schema.ts';
import { exactTableName, parseTablePattern, selectTables } from './table-patterns.ts';
import { nearest } from './validate.ts';

/** Says what is wrong and where; the place is the key's instead of the value's when `atKey`. */
export type Report = (pointer: string, error: TidemarkError, atKey?: boolean) => void;

/** What a part needs besides its section. */
export interface PartContext {
  readonly name: string;
  readonly type: string;
  /** Pointer of the section. */
  readonly pointer: string;
  readonly options: Options;
  readonly freshOptions: () => Promise<Options>;
  readonly report: Report;
}

/** Null when something was reported. */
export function sourceConfig(section: SourceSection, context: PartContext): SourceConfig | null {
  const { name, type, options, freshOptions, pointer, report } = context;
  const sound = soundPatterns(section.tables, (index) => pointerTo(pointerTo(pointer, 'tables'), index), report);
  const columns = columnRules(section, pointer, report);
  if (!sound || columns === null) return null;
  return {
    name,
    type,
    tables: selectTables(section.tables),
    tablePatterns: section.tables,
    columns,
    hashKey: section.hash_key ?? null,
    options,
    freshOptions,
  };
}

/** Null when something was reported. `patterns` are the keys of `tables` when that is a map, in the file's order. */
export function sinkConfig(section: SinkSection, patterns: readonly string[], sources: readonly string[], context: PartContext): SinkConfig | null {
  const { name, type, options, freshOptions, pointer, report } = context;
  const tables = pointerTo(pointer, 'tables');
  const asMap = !Array.isArray(section.tables);
  const sound = soundPatterns(patterns, (index) => pointerTo(tables, asMap ? (patterns[index] ?? '') : index), report, asMap);
  const known = sources.includes(section.from);
  if (!known) {
    const near = nearest(section.from, sources);
    report(
      pointerTo(pointer, 'from'),
      new TidemarkError('CONFIG_REFERENCE', `sink ${name} replays a source that does not exist${near === null ? '' : `; the nearest one is \`${near}\``}`, {
        remedy: `Name one of the sources: ${sources.join(', ')}.`,
      }),
    );
  }
  if (!sound || !known) return null;
  const tableOptions = new Map(Array.isArray(section.tables) ? [] : Object.entries(section.tables));
  return {
    name,
    type,
    from: section.from,
    tables: selectTables(patterns),
    tablePatterns: patterns,
    tableOptions,
    optionsOf: optionsByPattern(tableOptions),
    onError: section.on_error ?? 'stop',
    ...(section.when_behind === undefined ? {} : { whenBehind: section.when_behind }),
    options,
    freshOptions,
  };
}

function optionsByPattern(tableOptions: ReadonlyMap<string, Options>): NonNullable<SinkConfig['optionsOf']> {
  const parsed = [...tableOptions].map(([text, options]) => ({ pattern: parseTablePattern(text), options }));
  return (table) => parsed.find(({ pattern }) => pattern.matches(table))?.options ?? {};
}

function soundPatterns(patterns: readonly string[], pointerOf: (index: number) => string, report: Report, atKey = false): boolean {
  let sound = true;
  for (const [index, text] of patterns.entries()) {
    try {
      parseTablePattern(text);
    } catch (error) {
      report(pointerOf(index), asTidemarkError(error, 'CONFIG_TABLE_PATTERN'), atKey);
      sound = false;
    }
  }
  if (sound && patterns.every((text) => text.startsWith('!'))) {
    const error = new TidemarkError('CONFIG_TABLE_PATTERN', 'every table pattern leaves tables out, so that none is left', {
      remedy: 'Add a pattern without !, such as "public.*" or "*.*".',
    });
    report(pointerOf(0), error, atKey);
    return false;
  }
  return sound;
}

function columnRules(section: SourceSection, pointer: string, report: Report): Map<string, ColumnRules> | null {
  const rules = new Map<string, ColumnRules>();
  let sound = true;
  for (const [text, { exclude = [], hash = [] }] of Object.entries(section.columns ?? {})) {
    const at = pointerTo(pointerTo(pointer, 'columns'), text);
    try {
      const table = exactTableName(text);
      if (rules.has(table)) throw new TidemarkError('CONFIG_VALUE', `the columns of ${table} are given twice`);
      const both = exclude.find((column) => hash.includes(column));
      if (both !== undefined) throw new TidemarkError('CONFIG_VALUE', `column ${both} of ${table} is both left out and hashed`);
      rules.set(table, { exclude, hash });
    } catch (error) {
      report(at, asTidemarkError(error, 'CONFIG_VALUE'), true);
      sound = false;
    }
  }
  return sound ? rules : null;
}
