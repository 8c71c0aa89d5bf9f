/** What `init` writes. Pure: from what was found to the text of the file. No secret is in it. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { namedTable, tableName, type TableSchema } from '../../../contracts/schema.ts';
import { exactPattern, type TableNaming } from '../../config/table-patterns.ts';
import type { CheckedSource } from '../findings.ts';
import { shortened } from './text-table.ts';

export interface ProposedEndpoint {
  readonly name: string;
  readonly type: string;
  /** The environment variable that holds the URL. */
  readonly variable: string;
  /** The URL with its password replaced. */
  readonly shownUrl: string;
}

const TYPES: Readonly<Record<string, string>> = {
  postgres: 'postgres', postgresql: 'postgres', mysql: 'mysql', mariadb: 'mysql', redis: 'redis', rediss: 'redis',
};

/** Tables left out one by one in the proposal, at most. */
const MOST_LEFT_OUT = 100;

/**
 * A name, a type and a variable for a URL; the name is the database's where it has one.
 * @throws TidemarkError `USAGE` when the URL is of no known type
 */
export function proposedEndpoint(
  url: string,
  modules: readonly { readonly type: string }[],
  part: 'source' | 'sink',
  taken: readonly { readonly name: string }[],
): ProposedEndpoint {
  const scheme = /^([a-z]+):\/\//.exec(url)?.[1] ?? '';
  const type = TYPES[scheme];
  if (type === undefined || !modules.some((module) => module.type === type)) {
    const known = Object.keys(TYPES).filter((name) => modules.some((module) => module.type === TYPES[name]));
    throw new TidemarkError('USAGE', `the URL of the ${part} has to begin with one of ${known.map((name) => `${name}://`).join(', ')}`);
  }
  const path = /^[a-z]+:\/\/[^/?#]*\/([^?#]*)/.exec(url)?.[1] ?? '';
  const wanted = part === 'sink' ? (type === 'redis' ? 'cache' : 'replica') : usable(path);
  const name = free(wanted, taken.map((other) => other.name));
  return { name, type, variable: `${name.toUpperCase().replaceAll('-', '_')}_URL`, shownUrl: withoutPassword(url) };
}

function usable(text: string): string {
  const name = text.toLowerCase().replaceAll(/[^a-z0-9_-]+/g, '_').replace(/^[^a-z]+/, '').slice(0, 40);
  return name === '' ? 'main' : name;
}

function free(wanted: string, taken: readonly string[]): string {
  let name = wanted;
  for (let number = 2; taken.includes(name); number++) name = `${wanted}${number}`;
  return name;
}

/** Whatever could be a password is replaced: that of the user, and those of parameters. */
export function withoutPassword(url: string): string {
  return url
    .replace(/^([a-z]+:\/\/[^/?#@]*?):[^/?#]*@/, '$1:PASSWORD@')
    .replaceAll(/([?&][^=&]*password=)[^&#]*/gi, '$1PASSWORD');
}

export function proposedConfig(source: ProposedEndpoint, sinks: readonly ProposedEndpoint[], checked: CheckedSource): string {
  const lines = [
    '# Configuration of Tidemark. docs/configuration.md describes every key; `tidemark schema` prints them.',
    '# ${NAME} is an environment variable, ${NAME:-default} one with a default, ${file:path} the content of a file.',
    '',
    'hub:',
    '  data: ./data                    # the log and all state of the hub; relative to this file',
    '  http: "127.0.0.1:7400"          # API and metrics; a loopback address',
    '  # log:',
    '  #   history: 7d                 # every change is kept for so long; older ones are folded into the base',
    '  #   history_max: 200GB          # ... and up to this size',
    '  # limits:',
    '  #   disk: 500GB                 # what the data folder may take',
    '  #   retainedWal: 50GB           # WAL that the source may hold back for the hub ...',
    '  #   on_retained_wal: warn       # ... before: warn | stop | drop-slot-and-recopy',
    '',
    'sources:',
    `  ${source.name}:`,
    `    type: ${source.type}`,
    `    url: \${${source.variable}}`,
    '    tables:                       # globs, and ! to leave out',
    ...tableEntries(checked),
    ...columnExample(checked.tables),
    '',
    ...sinkSection(source, sinks, checked),
    '',
  ];
  return lines.join('\n');
}

function tableEntries({ tables, findings }: CheckedSource): string[] {
  const namespaces = new Map<string, number>();
  for (const { namespace } of tables) namespaces.set(namespace, (namespaces.get(namespace) ?? 0) + 1);
  if (namespaces.size === 0) return [entry('public.*', 'nothing was found; correct this')];
  const refused = findings.filter(({ severity, table }) => severity === 'error' && table !== undefined);
  return [
    ...[...namespaces].map(([namespace, count]) => entry(namespacePattern(namespace), `${count} table${count === 1 ? '' : 's'}`)),
    ...refused.slice(0, MOST_LEFT_OUT).map(({ table = '', what, remedy }) => entry(`!${exactPattern(named(table, tables))}`, `${what}: ${remedy}`)),
    ...(refused.length > MOST_LEFT_OUT ? [`      # and ${refused.length - MOST_LEFT_OUT} more that cannot be captured as they are; see \`tidemark check\``] : []),
  ];
}

/** The table that a finding names; of one that cannot be captured only the name is known. */
function named(name: string, tables: readonly TableSchema[]): TableNaming {
  return tables.find((table) => tableName(table) === name) ?? namedTable(name);
}

function namespacePattern(namespace: string): string {
  return exactPattern({ namespace, name: 'x' }).replace(/x$/, '*');
}

function entry(pattern: string, comment: string): string {
  return `${`      - ${JSON.stringify(pattern)}`.padEnd(33)} # ${shortened(comment, 160)}`;
}

function columnExample(tables: readonly TableSchema[]): string[] {
  const example = tables.find((table) => table.columns.length > table.key.length);
  const column = example?.columns.find((_, index) => !example.key.includes(index));
  if (example === undefined || column === undefined) return [];
  return [
    '    # columns:                    # left out of the log, or kept as a hash only',
    `    #   ${JSON.stringify(exactPattern(example))}: { exclude: [${JSON.stringify(column.name)}] }`,
  ];
}

function sinkSection(source: ProposedEndpoint, sinks: readonly ProposedEndpoint[], { tables }: CheckedSource): string[] {
  const namespaces = [...new Set(tables.map(({ namespace }) => namespace))];
  const patterns = (namespaces.length === 0 ? ['public'] : namespaces).map((namespace) => JSON.stringify(namespacePattern(namespace)));
  const sink = (name: string, type: string, variable: string): string[] => [
    `  ${name}:`,
    `    type: ${type}`,
    `    from: ${source.name}`,
    `    url: \${${variable}}`,
    `    tables: [${patterns.join(', ')}]`,
    '    on_error: stop                # or dead-letter: put a record aside that can never be applied',
  ];
  if (sinks.length > 0) return ['sinks:', ...sinks.flatMap(({ name, type, variable }) => sink(name, type, variable))];
  return ['sinks:', ...sink('replica', 'postgres', 'REPLICA_URL').map((line) => `  # ${line.slice(2)}`)];
}
