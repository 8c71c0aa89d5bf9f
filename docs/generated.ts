/** The published files that are made from the code, so that they cannot say anything else than it does. */
import { EVENTS } from '../contracts/events.ts';
import { BACKUP_ERRORS } from '../contracts/errors/backup-errors.ts';
import { CONTRACT_ERRORS } from '../contracts/errors/contract-errors.ts';
import type { CatalogueEntry } from '../contracts/errors/catalogue.ts';
import { HUB_ERRORS } from '../contracts/errors/hub-errors.ts';
import { LOG_ERRORS } from '../contracts/errors/log-errors.ts';
import { MYSQL_ERRORS } from '../contracts/errors/mysql-errors.ts';
import { POSTGRES_ERRORS } from '../contracts/errors/postgres-errors.ts';
import { SINK_ERRORS } from '../contracts/errors/sink-errors.ts';
import { publishedSchema, type ObjectSchema } from '../hub/config/schema.ts';
import type { Registry } from '../hub/hub.ts';
import { METRICS, type Metric } from '../hub/observability/metric-names.ts';

const AREAS: readonly (readonly [string, string, Readonly<Record<string, CatalogueEntry>>])[] = [
  ['Configuration, command line, API and pipelines', 'hub', HUB_ERRORS],
  ['The log', 'log', LOG_ERRORS],
  ['Backups', 'backup', BACKUP_ERRORS],
  ['Postgres sources', 'postgres', POSTGRES_ERRORS],
  ['MySQL and MariaDB sources', 'mysql', MYSQL_ERRORS],
  ['Sinks', 'sinks', SINK_ERRORS],
  ['Offsets, positions, records and schemas', 'contracts', CONTRACT_ERRORS],
];

const RETRIES: Readonly<Record<CatalogueEntry['retry'], string>> = {
  auto: 'The hub tries again by itself, with growing delays.',
  operator: 'Nothing is tried again until somebody has changed something.',
  never: 'The same input fails for ever.',
};

/** docs/errors.md */
export function errorsPage(): string {
  const sections = AREAS.flatMap(([title, , errors]) => [
    `## ${title}`,
    '',
    ...Object.entries(errors).flatMap(([code, { means, remedy, retry }]) => [
      `### ${code}`,
      '',
      means,
      '',
      `**What to do.** ${remedy} ${RETRIES[retry]}`,
      '',
    ]),
  ]);
  return [
    '# Errors',
    '',
    'Every failure has a code that never changes its meaning, says where it happened (source, sink, table, offset, position,',
    'file and line) and what to do. This page is made from the catalogue in `contracts/errors/` by `npm run docs`.',
    '',
    ...sections,
  ].join('\n');
}

/** tidemark.schema.json */
export function schemaFile(registry: Registry): string {
  return `${JSON.stringify(publishedSchema(registry), null, 2)}\n`;
}

/** The table of metrics, for a page. */
export function metricsTable(): string {
  const rows = Object.entries<Metric>(METRICS).map(
    ([name, { kind, unit, labels, help }]) => `| \`${name}\` | ${kind} | ${unit} | ${labels.join(', ')} | ${help} |`,
  );
  return ['| metric | kind | unit | labels | meaning |', '| --- | --- | --- | --- | --- |', ...rows].join('\n');
}

/** The table of the events of the hub's own log, for a page. */
export function eventsTable(): string {
  return ['| event | meaning |', '| --- | --- |', ...Object.entries(EVENTS).map(([name, means]) => `| \`${name}\` | ${means} |`)].join('\n');
}

/** A table of options for each connector and sink, for a page. */
export function optionTables(registry: Registry): string {
  return [
    ...registry.connectors.flatMap(({ type, options }) => [`#### Source of type \`${type}\``, '', ...optionTable(options), '']),
    ...registry.sinks.flatMap(({ type, options, tableOptions }) => [
      `#### Sink of type \`${type}\``,
      '',
      ...optionTable(options),
      '',
      ...(tableOptions === null ? [] : ['Settings of a table:', '', ...optionTable(tableOptions), '']),
    ]),
  ].join('\n').trimEnd();
}

function optionTable(schema: ObjectSchema): string[] {
  const properties = schema['properties'];
  const rows = isObject(properties)
    ? Object.entries(properties).map(([name, property]) => `| \`${name}\` | ${typeText(property)} | ${defaultText(property)} | ${cell(textOf(property, 'description'))} |`)
    : [];
  return rows.length === 0 ? ['No options of its own.'] : ['| key | value | default | meaning |', '| --- | --- | --- | --- |', ...rows];
}

function typeText(schema: unknown): string {
  if (!isObject(schema)) return '';
  if (isObject(schema['size'])) return `a size${boundsText(schema['size'])}`;
  if (isObject(schema['duration'])) return `a duration${boundsText(schema['duration'])}`;
  const { enum: choices, const: constant, oneOf, anyOf, type } = schema;
  if (Array.isArray(choices)) return choices.map((choice) => `\`${shown(choice)}\``).join(', ');
  if (constant !== undefined) return `\`${shown(constant)}\``;
  const alternatives = Array.isArray(oneOf) ? oneOf : Array.isArray(anyOf) ? anyOf : null;
  if (alternatives !== null) return alternatives.map(typeText).join(' or ');
  const words: Readonly<Record<string, string>> = { object: 'a map', array: 'a list', string: 'text', integer: 'a whole number', number: 'a number', boolean: '`true` or `false`' };
  const types = Array.isArray(type) ? type.map(String) : [String(type)];
  return `${types.map((one) => words[one] ?? one).join(' or ')}${isObject(schema['properties']) ? ` with ${Object.keys(schema['properties']).map((key) => `\`${key}\``).join(', ')}` : ''}`;
}

function boundsText(bounds: Readonly<Record<string, unknown>>): string {
  const { min, max } = bounds;
  if (min === undefined && max === undefined) return '';
  if (max === undefined) return `, ${shown(min)} at least`;
  return min === undefined ? `, ${shown(max)} at most` : `, ${shown(min)} to ${shown(max)}`;
}

function defaultText(schema: unknown): string {
  return isObject(schema) && schema['default'] !== undefined ? `\`${shown(schema['default'])}\`` : '';
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function textOf(schema: unknown, key: string): string {
  const value = isObject(schema) ? schema[key] : undefined;
  return typeof value === 'string' ? value : '';
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A page with the parts between `<!-- NAME -->` and `<!-- end of NAME -->` replaced. @throws Error when one is not there */
export function withGeneratedParts(page: string, parts: Readonly<Record<string, string>>): string {
  return Object.entries(parts).reduce((text, [name, content]) => {
    const begin = `<!-- ${name} -->`;
    const end = `<!-- end of ${name} -->`;
    const [from, to] = [text.indexOf(begin), text.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`the page has no part ${name}`);
    return `${text.slice(0, from + begin.length)}\n${content}\n${text.slice(to)}`;
  }, page);
}

/** Every published file that is made, or has parts that are: path in the package, and its text now that `read` gives it. */
export async function generatedFiles(registry: Registry, read: (path: string) => Promise<string>): Promise<Map<string, string>> {
  return new Map([
    ['docs/errors.md', errorsPage()],
    ['tidemark.schema.json', schemaFile(registry)],
    ['docs/configuration.md', withGeneratedParts(await read('docs/configuration.md'), { options: optionTables(registry) })],
    ['docs/cli.md', withGeneratedParts(await read('docs/cli.md'), { metrics: metricsTable() })],
    ['docs/operations.md', withGeneratedParts(await read('docs/operations.md'), { events: eventsTable() })],
  ]);
}
