/** Asks every connector and sink what is wrong, and says it. */
import type { HubConfig, SinkConfig, SourceConfig } from '../../contracts/config.ts';
import type { SourceConnector } from '../../contracts/connector.ts';
import { TidemarkError, asTidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { Registry } from '../hub.ts';

/** What was found out about one source or sink. */
export interface PartFindings {
  readonly part: 'source' | 'sink';
  readonly name: string;
  readonly type: string;
  readonly findings: readonly Finding[];
}

export interface Checking {
  readonly registry: Registry;
  readonly runtime: Runtime;
  readonly signal: AbortSignal;
}

/** Connects to everything, changes nothing. What cannot be asked is a finding, too. */
export async function checkAll(config: HubConfig, checking: Checking): Promise<PartFindings[]> {
  const sources = await Promise.all([...config.sources.values()].map((source) => checkSource(source, checking)));
  const tables = new Map(sources.map(({ name, tables: present }) => [name, present]));
  const sinks = await Promise.all([...config.sinks.values()].map((sink) => checkSink(sink, tables.get(sink.from) ?? [], checking)));
  return [...sources.map(({ part, name, type, findings }) => ({ part, name, type, findings })), ...sinks];
}

export interface CheckedSource extends PartFindings {
  /** Tables that the configuration selects; none when the source cannot be asked. */
  readonly tables: readonly TableSchema[];
}

export async function checkSource(config: SourceConfig, { registry, runtime, signal }: Checking): Promise<CheckedSource> {
  const { name, type } = config;
  const findings: Finding[] = [];
  let tables: TableSchema[] = [];
  try {
    await using connector = connectorOf(config, registry, runtime);
    findings.push(...(await connector.check(signal)));
    tables = await connector.tables(signal);
    if (tables.length === 0 && !findings.some(({ severity, code }) => severity === 'error' && code === 'tables')) findings.push(noTables(config));
  } catch (error) {
    findings.push(findingOf(asTidemarkError(error, 'INTERNAL', { source: name }), findings));
  }
  return { part: 'source', name, type, findings: unique(findings), tables };
}

async function checkSink(config: SinkConfig, tables: readonly TableSchema[], { registry, runtime, signal }: Checking): Promise<PartFindings> {
  const { name, type } = config;
  const findings: Finding[] = [];
  try {
    const module = registry.sinks.find((known) => known.type === type);
    if (module === undefined) throw new TidemarkError('CONFIG_REFERENCE', `there is no sink of type ${type}`);
    await using sink = module.create(config, runtime);
    findings.push(...(await sink.check(tables.filter(config.tables), signal)));
  } catch (error) {
    findings.push(findingOf(asTidemarkError(error, 'INTERNAL', { sink: name }), findings));
  }
  return { part: 'sink', name, type, findings: unique(findings) };
}

/** @throws TidemarkError `CONFIG_REFERENCE`, what the module says of its settings */
function connectorOf(config: SourceConfig, registry: Registry, runtime: Runtime): SourceConnector {
  const module = registry.connectors.find((known) => known.type === config.type);
  if (module === undefined) throw new TidemarkError('CONFIG_REFERENCE', `there is no connector of type ${config.type}`);
  return module.create(config, runtime);
}

function findingOf(error: TidemarkError, before: readonly Finding[]): Finding {
  const code = error.code.toLowerCase().replaceAll('_', '-');
  const { table } = error.where;
  const repeats = before.some(({ severity, what }) => severity === 'error' && what === error.message);
  return {
    severity: 'error',
    code,
    what: repeats ? `${error.message} (and so nothing more could be looked at)` : error.message,
    remedy: error.remedy,
    ...(table === undefined ? {} : { table }),
  };
}

function noTables({ tablePatterns }: SourceConfig): Finding {
  return {
    severity: 'warning',
    code: 'no-tables',
    what: `no table matches ${tablePatterns.join(', ')}`,
    remedy: 'Correct `tables` of the source, or create the tables.',
  };
}

function unique(findings: readonly Finding[]): Finding[] {
  const seen = new Map(findings.map((finding) => [JSON.stringify(finding), finding]));
  return [...seen.values()];
}

/** For people: the part, then a line per finding with what mends it below. */
export function findingLines({ part, name, type, findings }: PartFindings): string[] {
  const lines = findings.flatMap(({ severity, what, remedy, table }) => [
    `  ${severity.padEnd(7)}  ${table === undefined ? '' : `${table}: `}${what}`,
    ...(severity === 'ok' || remedy === '' ? [] : remedy.split('\n').map((line) => `           ${line}`)),
  ]);
  return [`${part} ${name} (${type})`, ...(lines.length === 0 ? ['  ok'] : lines)];
}
