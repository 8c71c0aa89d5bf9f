/**
 * The configuration as the hub uses it: validated, secrets resolved, defaults filled in. The JSON Schema of the file
 * and its reading live in hub/config; what a connector or a sink understands beyond the fields here is described by the
 * schema that its own folder exports and handed to it as `options`.
 */
import type { Keep } from './log-engine.ts';
import type { PositionCodec } from './position.ts';
import type { Runtime } from './runtime.ts';
import type { TableSchema } from './schema.ts';
import type { TableSelector } from './sink.ts';

export interface HubConfig {
  /** Absolute path of the data folder. */
  readonly data: string;
  /** Loopback address of the HTTP API (`127.0.0.1:7400`); null: unix socket in the data folder only. */
  readonly http: string | null;
  readonly limits: HubLimits;
  readonly log: LogSettings;
  readonly sources: ReadonlyMap<string, SourceConfig>;
  readonly sinks: ReadonlyMap<string, SinkConfig>;
}

export interface HubLimits {
  /** Bytes that one pipeline may hold in flight. Default 32 MiB. */
  readonly pipelineBytes: number;
  /** Bytes that the data folder may take before capture stops; null: the disk alone is the limit. */
  readonly disk: number | null;
  /** WAL that the source may hold back for this hub before `onRetainedWal` acts, in bytes; null: no limit. */
  readonly retainedWal: number | null;
  /** What happens at the limit; `warn` says so only. */
  readonly onRetainedWal: 'warn' | 'stop' | 'drop-slot-and-recopy';
}

/** How far back the logs keep every change, and what folding the rest may take. */
export interface LogSettings {
  /** Changes that are older are folded into the base, milliseconds; null: age alone folds nothing. */
  readonly historyMs: number | null;
  /** History above this is folded into the base, bytes of each source; null: no limit. */
  readonly historyBytes: number | null;
  /** How long each table is kept. Absent where the configuration does not come from a file: all are folded. */
  readonly keep?: (table: Pick<TableSchema, 'namespace' | 'name'>) => Keep;
  /** What `keep` follows from: two that are the same keep the same. */
  readonly keepRules?: string;
  /** Bytes of records that are sorted in memory. */
  readonly compactionBytes: number;
  /** Share of the time that folding may take: above 0, at most 1. */
  readonly compactionShare: number;
  /** Bytes a second that folding may read and write; null: no limit. */
  readonly compactionRate: number | null;
}

export interface SourceConfig {
  readonly name: string;
  readonly type: string;
  /** Which tables are captured. */
  readonly tables: TableSelector;
  /** The patterns behind `tables`, for messages and status. */
  readonly tablePatterns: readonly string[];
  /** By table name as `tableName` gives it; exact names, no patterns. */
  readonly columns: ReadonlyMap<string, ColumnRules>;
  /** Key for hashed columns (HMAC-SHA-256); null when no column is hashed. */
  readonly hashKey: string | null;
  /** The connector's own settings and the common `url`, already checked against its schema. */
  readonly options: Options;
  /**
   * The options with every `${...}` of the file resolved anew, so that a rotated password is found: to be called
   * before each connect. Absent where the configuration does not come from a file: `options` then stay as they are.
   * @throws TidemarkError `CONFIG_SECRET` when a secret is gone
   */
  readonly freshOptions?: () => Promise<Options>;
}

/** Settings that a module's schema describes. */
export type Options = Readonly<Record<string, unknown>>;

/** Columns of one table that are left out or hashed before the log. */
export interface ColumnRules {
  readonly exclude: readonly string[];
  readonly hash: readonly string[];
}

export interface SinkConfig {
  readonly name: string;
  readonly type: string;
  /** The source whose log it replays. */
  readonly from: string;
  readonly tables: TableSelector;
  readonly tablePatterns: readonly string[];
  /** Settings per table pattern, as the file has them, where the sink's `tables` is a map. */
  readonly tableOptions: ReadonlyMap<string, Options>;
  /**
   * The settings of one table: those of the first pattern in `tableOptions` that matches it; `{}` when none does or
   * `tables` is a list. Absent where the configuration does not come from a file.
   */
  readonly optionsOf?: (table: Pick<TableSchema, 'namespace' | 'name'>) => Options;
  readonly onError: 'stop' | 'dead-letter';
  /** Left out: `rebuild` where the sink rebuilds in place, `stop` elsewhere. */
  readonly whenBehind?: WhenBehind;
  /** The sink's own settings and the common `url`, already checked against its schema. */
  readonly options: Options;
  /** As of a source. */
  readonly freshOptions?: () => Promise<Options>;
}

/**
 * What becomes of a sink whose checkpoint stands below the horizon, or is one that the log never had: it stops and says so,
 * or is rebuilt by itself.
 */
export type WhenBehind = 'stop' | 'rebuild';

/** What one connector or sink folder exports for the registry. */
export interface ConnectorModule<C> {
  readonly type: string;
  /** Reads and prints positions without a connection: for those who read a log whose source is not there. */
  readonly positions: PositionCodec;
  /** JSON Schema (object) of its own settings, besides the common ones of a source; `url` is common. See option-schema.ts. */
  readonly options: Readonly<Record<string, unknown>>;
  create(config: SourceConfig, runtime: Runtime): C;
}

export interface SinkModule<S> {
  readonly type: string;
  /** JSON Schema (object) of its own settings, besides the common ones of a sink. */
  readonly options: Readonly<Record<string, unknown>>;
  /** JSON Schema (object) of the settings per table; null when `tables` is a plain list. */
  readonly tableOptions: Readonly<Record<string, unknown>> | null;
  create(config: SinkConfig, runtime: Runtime): S;
}
