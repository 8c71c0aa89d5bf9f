import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { HubConfig, HubLimits, LogSettings, Options, SinkConfig, SourceConfig } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { parseDuration, parseSize } from '../../contracts/units.ts';
import { parseLoopback } from './address.ts';
import { keepByPattern, keepFaults } from './keep.ts';
import { parseConfigDocument, pointerSteps, pointerTo, type ConfigDocument } from './document.ts';
import { sinkConfig, sourceConfig, type PartContext } from './parts.ts';
import type { Environment, ReferenceScope } from './references.ts';
import { resolveTree } from './resolve-tree.ts';
import {
  DEFAULT_LIMITS, DEFAULT_LOG,
  HUB_SCHEMA,
  moduleOptionNames,
  outlineSchema,
  sinkSchema,
  sourceSchema,
  type ConnectorOptions,
  type HubSection,
  type Modules,
  type SinkOptions,
  type SinkSection,
  type SourceSection,
} from './schema.ts';
import { compileValidator, type Fault, type Validator } from './validate.ts';

/** Largest configuration file in bytes. */
const MAX_FILE_BYTES = 4 << 20;

export type ConfigResult = { readonly config: HubConfig } | { readonly problems: readonly [TidemarkError, ...TidemarkError[]] };

/**
 * Reads, resolves and checks the file. Every problem is one error with file, line and column; no value of the file or
 * of a secret is in any of them.
 */
export async function readConfig(path: string, env: Environment, modules: Modules): Promise<ConfigResult> {
  const file = resolve(path);
  const problems: TidemarkError[] = [];
  const config = await new Reading(file, { env, folder: dirname(file) }, modules, problems).config();
  if (config !== null && problems.length === 0) return { config };
  const [first, ...rest] = problems.toSorted(byPlace);
  if (first === undefined) throw new TidemarkError('INTERNAL', 'a configuration was refused without a reason');
  return { problems: [first, ...rest] };
}

/** As `readConfig`. @throws TidemarkError the first problem; the others are counted in its message */
export async function loadConfig(path: string, env: Environment, modules: Modules): Promise<HubConfig> {
  const result = await readConfig(path, env, modules);
  if ('config' in result) return result.config;
  const [first, ...rest] = result.problems;
  if (rest.length === 0) throw first;
  throw new TidemarkError(first.code, `${first.message} (and ${rest.length} more; \`tidemark check\` lists all)`, {
    where: first.where,
    remedy: first.remedy,
  });
}

/** Where a hub with this configuration is to be found; needs no secret of a source or sink. @throws TidemarkError */
export async function readHubPlace(path: string, env: Environment): Promise<Pick<HubConfig, 'data' | 'http'>> {
  const file = resolve(path);
  const problems: TidemarkError[] = [];
  const place = await new Reading(file, { env, folder: dirname(file) }, { connectors: [], sinks: [] }, problems).place();
  const [first] = problems;
  if (first !== undefined) throw first;
  if (place === null) throw new TidemarkError('INTERNAL', 'a configuration was refused without a reason');
  return place;
}

function byPlace(a: TidemarkError, b: TidemarkError): number {
  return (a.where.line ?? 0) - (b.where.line ?? 0) || Number(a.where.column ?? 0) - Number(b.where.column ?? 0);
}

/** One reading of one file. */
class Reading {
  readonly #file: string;
  readonly #scope: ReferenceScope;
  readonly #modules: Modules;
  readonly #problems: TidemarkError[];

  constructor(file: string, scope: ReferenceScope, modules: Modules, problems: TidemarkError[]) {
    this.#file = file;
    this.#scope = scope;
    this.#modules = modules;
    this.#problems = problems;
  }

  /** Null only when something was reported; a sound part is still left out of what was reported about others. */
  async config(): Promise<HubConfig | null> {
    const document = await this.#document();
    if (document === null) return null;
    const outline = await this.#check(document, '', outlineOf(document.value), compileValidator<{ hub?: HubSection }>(outlineSchema(this.#modules)));
    const sources = await this.#parts(document, 'sources', this.#modules.connectors, (part) => this.#source(part));
    const names = Object.keys(childrenOf(document.value, 'sources'));
    const sinks = await this.#parts(document, 'sinks', this.#modules.sinks, (part) => this.#sink(part, names));
    if (outline === null) return null;
    const place = this.#placeOfHub(document, outline.hub ?? {});
    const faults = keepFaults(outline.hub?.log?.tables ?? {});
    for (const { pattern, error } of faults) this.#report(document, pointerTo('/hub/log/tables', pattern), error, true);
    return place === null || faults.length > 0 ? null : { ...place, limits: limitsOf(outline.hub ?? {}), log: logOf(outline.hub ?? {}), sources, sinks };
  }

  async place(): Promise<Pick<HubConfig, 'data' | 'http'> | null> {
    const document = await this.#document();
    if (document === null) return null;
    const hub = await this.#check(document, '/hub', childrenOf(document.value, 'hub'), compileValidator<HubSection>({ ...HUB_SCHEMA }));
    return hub === null ? null : this.#placeOfHub(document, hub);
  }

  async #document(): Promise<ConfigDocument | null> {
    let bytes: Buffer;
    try {
      bytes = await readFile(this.#file);
    } catch (cause) {
      const why = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unreadable';
      this.#problems.push(new TidemarkError('CONFIG_NOT_FOUND', `${this.#file} cannot be read (${why})`, { where: { file: this.#file }, cause }));
      return null;
    }
    if (bytes.length > MAX_FILE_BYTES) {
      this.#problems.push(new TidemarkError('CONFIG_VALUE', `the file is larger than ${MAX_FILE_BYTES} bytes`, { where: { file: this.#file } }));
      return null;
    }
    const parsed = parseConfigDocument(bytes.toString('utf8'));
    if ('document' in parsed) return parsed.document;
    this.#problems.push(...parsed.faults.map((fault) => fault.at({ file: this.#file })));
    return null;
  }

  /** Those sources or sinks that are sound; one without a known type is a fault of the outline. */
  async #parts<M extends { readonly type: string }, C>(
    document: ConfigDocument,
    kind: 'sources' | 'sinks',
    modules: readonly M[],
    build: (part: RawPart<M>) => Promise<C | null>,
  ): Promise<Map<string, C>> {
    const parts = new Map<string, C>();
    for (const [name, raw] of Object.entries(childrenOf(document.value, kind))) {
      const type: unknown = typeof raw === 'object' && raw !== null && 'type' in raw ? raw.type : null;
      const module = modules.find((known) => known.type === type);
      if (module === undefined) continue;
      const built = await build({ document, name, module, raw, pointer: pointerTo(`/${kind}`, name) });
      if (built !== null) parts.set(name, built);
    }
    return parts;
  }

  async #source(part: RawPart<ConnectorOptions>): Promise<SourceConfig | null> {
    const validator = compileValidator<SourceSection>(sourceSchema(part.module));
    const section = await this.#check(part.document, part.pointer, part.raw, validator);
    return section === null ? null : sourceConfig(section, this.#context(part, section, validator));
  }

  async #sink(part: RawPart<SinkOptions>, sources: readonly string[]): Promise<SinkConfig | null> {
    const { document, pointer } = part;
    const validator = compileValidator<SinkSection>(sinkSchema(part.module));
    const { section: raw, patterns, withSettings } = separateTableSettings(part.raw);
    for (const pattern of withSettings) {
      const error = new TidemarkError('CONFIG_VALUE', `the pattern ${pattern} leaves tables out, and has settings`, { remedy: 'Remove the settings.' });
      this.#report(document, pointerTo(pointerTo(pointer, 'tables'), pattern), error);
    }
    const section = await this.#check(document, pointer, raw, validator);
    if (section === null) return null;
    const listed = Array.isArray(section.tables) ? section.tables : patterns;
    return sinkConfig(section, listed, sources, this.#context({ ...part, raw }, section, validator));
  }

  /** @param validator kept, since to compile one takes longer than all else that opening a session does */
  #context(part: RawPart<ConnectorOptions>, section: object, validator: Validator<object>): PartContext {
    const { document, pointer, module, name, raw } = part;
    const names = moduleOptionNames(module);
    return {
      name,
      type: module.type,
      pointer,
      options: pick(section, names),
      freshOptions: async () => {
        const problems: TidemarkError[] = [];
        const again = new Reading(this.#file, this.#scope, this.#modules, problems);
        const fresh = await again.#check(document, pointer, raw, validator);
        if (fresh === null) throw problems[0] ?? new TidemarkError('INTERNAL', 'options were refused without a reason');
        return pick(fresh, names);
      },
      report: (at, error, atKey) => this.#report(document, at, error, atKey),
    };
  }

  /** Resolves references and checks; null when a problem was reported. */
  async #check<T>(document: ConfigDocument, pointer: string, raw: unknown, validator: Validator<T>): Promise<T | null> {
    const { value, substituted, failures } = await resolveTree(raw, pointer, this.#scope);
    for (const failure of failures) this.#report(document, failure.pointer, failure.error);
    const validated = validator(value, pointer, substituted);
    if ('faults' in validated) {
      const failed = new Set(failures.map((failure) => failure.pointer));
      for (const fault of validated.faults) {
        if (!failed.has(fault.pointer)) this.#report(document, fault.pointer, errorOf(fault), fault.atKey);
      }
      return null;
    }
    return failures.length === 0 ? validated.value : null;
  }

  #placeOfHub(document: ConfigDocument, hub: HubSection): Pick<HubConfig, 'data' | 'http'> | null {
    const http = hub.http ?? null;
    if (http !== null && parseLoopback(http) === null) {
      this.#report(document, '/hub/http', new TidemarkError('CONFIG_ADDRESS', '`hub.http` is not a loopback address with a port'));
      return null;
    }
    return { data: resolve(this.#scope.folder, hub.data ?? './data'), http };
  }

  #report(document: ConfigDocument, pointer: string, error: TidemarkError, atKey = false): void {
    const { line, column } = atKey ? document.placeOfKey(pointer) : document.placeOf(pointer);
    const [part, name] = pointerSteps(pointer);
    const owner = name === undefined ? {} : part === 'sources' ? { source: name } : part === 'sinks' ? { sink: name } : {};
    this.#problems.push(error.at({ ...owner, file: this.#file, line, column }));
  }
}

/** A source or sink as the file has it. */
interface RawPart<M> {
  readonly document: ConfigDocument;
  readonly name: string;
  readonly module: M;
  readonly raw: unknown;
  readonly pointer: string;
}

type Tree = Readonly<Record<string, unknown>>;

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The map that stands under `key`; empty when there is none. */
function childrenOf(root: unknown, key: string): Tree {
  const child = isTree(root) ? root[key] : undefined;
  return isTree(child) ? child : {};
}

/** The file with nothing of its sources and sinks but their types. */
function outlineOf(root: unknown): unknown {
  if (!isTree(root)) return root;
  const typesOnly = (parts: unknown): unknown =>
    isTree(parts)
      ? Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, isTree(part) && 'type' in part ? { type: part['type'] } : isTree(part) ? {} : part]))
      : parts;
  return {
    ...root,
    ...('sources' in root ? { sources: typesOnly(root['sources']) } : {}),
    ...('sinks' in root ? { sinks: typesOnly(root['sinks']) } : {}),
  };
}

/**
 * Where `tables` is a map: without the patterns that leave out, which have no settings, and with `{}` for a pattern
 * that stands alone. `patterns` are all keys in the file's order; `withSettings` those that should have none.
 */
function separateTableSettings(raw: unknown): { section: unknown; patterns: string[]; withSettings: string[] } {
  const tables = isTree(raw) ? raw['tables'] : undefined;
  if (!isTree(raw) || !isTree(tables)) return { section: raw, patterns: [], withSettings: [] };
  const entries = Object.entries(tables);
  const isEmpty = (settings: unknown): boolean => settings === null || (isTree(settings) && Object.keys(settings).length === 0);
  return {
    section: {
      ...raw,
      tables: Object.fromEntries(entries.filter(([text]) => !text.startsWith('!')).map(([text, settings]) => [text, settings ?? {}])),
    },
    patterns: entries.map(([text]) => text),
    withSettings: entries.filter(([text, settings]) => text.startsWith('!') && !isEmpty(settings)).map(([text]) => text),
  };
}

function pick(section: object, names: readonly string[]): Options {
  return Object.fromEntries(Object.entries(section).filter(([name]) => names.includes(name)));
}

function errorOf(fault: Fault): TidemarkError {
  return new TidemarkError(fault.code, fault.what, fault.remedy === null ? {} : { remedy: fault.remedy });
}

function limitsOf(hub: HubSection): HubLimits {
  const { limits = {} } = hub;
  return {
    pipelineBytes: limits.pipeline_memory ?? defaultSize(DEFAULT_LIMITS.pipeline_memory),
    disk: limits.disk ?? null,
    retainedWal: limits.retainedWal ?? null,
    onRetainedWal: limits.on_retained_wal ?? DEFAULT_LIMITS.on_retained_wal,
  };
}

function logOf(hub: HubSection): LogSettings {
  const { log = {} } = hub;
  const { compaction = {} } = log;
  return {
    historyMs: log.history === undefined ? parseDuration(DEFAULT_LOG.history) : log.history,
    historyBytes: log.history_max ?? null,
    keep: keepByPattern(log.tables ?? {}),
    keepRules: JSON.stringify(log.tables ?? {}),
    compactionBytes: compaction.memory ?? defaultSize(DEFAULT_LOG.memory),
    compactionShare: compaction.share ?? DEFAULT_LOG.share,
    compactionRate: compaction.rate ?? null,
  };
}

function defaultSize(text: string): number {
  const bytes = parseSize(text);
  if (bytes === null) throw new TidemarkError('INTERNAL', `the default size ${text} cannot be read`);
  return bytes;
}
