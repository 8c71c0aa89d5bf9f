/** What goes over the API, as JSON Schemas with their types; the hub answers with them and the client checks answers by them. */
import Type, { type Static } from 'typebox';
import type { HubStatus } from '../service.ts';
import { PAUSE, rebuildView } from './rebuild/schemas.ts';

export const OFFSET = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
export const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

const ERROR_VIEW = Type.Object({
  code: Type.String(),
  message: Type.String(),
  remedy: Type.String(),
  at: Type.String(),
  where: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()])),
});

const KEPT = Type.Object({ how: Type.Enum(['compact', 'all', 'window']), recordsAfter: OFFSET, rowsAfter: OFFSET });

const HOLD = nullable(Type.Object({ by: Type.Enum(['reader', 'lease', 'copy']), name: Type.String(), offset: OFFSET }));

const COMPACTION = Type.Object({
  state: Type.Enum(['idle', 'folding', 'merging', 'failed']),
  part: nullable(Type.Number()),
  target: nullable(OFFSET),
  last: nullable(Type.Object({ horizon: OFFSET, bytes: Type.Number(), seconds: Type.Number(), at: Type.String() })),
  hold: HOLD,
  error: nullable(ERROR_VIEW),
});

const TABLE_STATUS = Type.Object({
  table: Type.String(),
  tableId: Type.Integer(),
  state: Type.Enum(['new', 'copying', 'consistent', 'stopped', 'removed']),
  since: OFFSET,
  consistent: Type.Array(Type.Object({ from: OFFSET, to: nullable(OFFSET) })),
  kept: KEPT,
  copy: nullable(
    Type.Object({ rows: Type.Number(), estimatedRows: Type.Number(), etaSeconds: nullable(Type.Number()), waitingFor: Type.String() }),
  ),
  stoppedBecause: nullable(Type.String()),
  remedy: nullable(Type.String()),
});

const SOURCE_STATUS = Type.Object({
  name: Type.String(),
  type: Type.String(),
  state: Type.Enum(['starting', 'streaming', 'retrying', 'stopped', 'failed']),
  highWatermark: OFFSET,
  horizon: OFFSET,
  horizonTime: Type.Number(),
  position: nullable(Type.String()),
  commitTime: Type.Number(),
  lag: Type.Object({ bytes: nullable(Type.Number()), seconds: nullable(Type.Number()) }),
  retainedWalBytes: nullable(Type.Number()),
  logBytes: Type.Number(),
  historyBytes: Type.Number(),
  baseBytes: Type.Number(),
  archiveBytes: Type.Number(),
  compaction: COMPACTION,
  recordsPerSecond: Type.Number(),
  waitingFor: Type.String(),
  tables: Type.Array(TABLE_STATUS),
  error: nullable(ERROR_VIEW),
});

const SINK_STATUS = Type.Object({
  name: Type.String(),
  type: Type.String(),
  from: Type.String(),
  state: Type.Enum(['starting', 'loading', 'applying', 'caught-up', 'rebuilding', 'retrying', 'paused', 'stopped', 'failed']),
  degraded: Type.Boolean(),
  offset: OFFSET,
  position: nullable(Type.String()),
  commitTime: Type.Number(),
  lag: Type.Object({ records: Type.Number(), bytes: Type.Number(), seconds: nullable(Type.Number()) }),
  recordsPerSecond: Type.Number(),
  load: nullable(Type.Object({ rows: Type.Number(), estimatedRows: Type.Number(), etaSeconds: nullable(Type.Number()) })),
  deadLetters: Type.Integer(),
  pause: nullable(PAUSE),
  rebuild: nullable(rebuildView(ERROR_VIEW)),
  error: nullable(ERROR_VIEW),
});

/** `GET /v1/status`. */
export const STATUS = Type.Object({
  version: Type.String(),
  startedAt: Type.String(),
  disk: Type.Object({ used: Type.Number(), limit: nullable(Type.Number()), level: Type.Enum(['ok', 'low', 'short', 'full']) }),
  sources: Type.Array(SOURCE_STATUS),
  sinks: Type.Array(SINK_STATUS),
});

type Frozen<T> = T extends object ? { readonly [K in keyof T]: Frozen<T[K]> } : T;
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
/** Does not compile when the schema and the type of the service differ. */
export const STATUS_IS_THE_SERVICE_S: Same<Frozen<Static<typeof STATUS>>, Frozen<HubStatus>> = true;

/** `GET /v1/tables`. */
export const TABLES = Type.Object({
  sources: Type.Array(Type.Object({ name: Type.String(), tables: Type.Array(TABLE_STATUS) })),
});
export type Tables = Static<typeof TABLES>;

/** `GET /v1/sinks/SINK/wait`. */
export const WAITED = Type.Object({ sink: Type.String(), offset: OFFSET });
export type Waited = Static<typeof WAITED>;

/** Answer of what only does something; `done` is for people. */
export const DONE = Type.Object({ done: Type.Array(Type.String()) });
export type Done = Static<typeof DONE>;

/** The first line of `GET /v1/hold`: the data folder, and each log's manifest as a file would have it. */
export const HELD_LINE = Type.Object({
  data: Type.String(),
  logs: Type.Array(Type.Object({ source: Type.String(), folder: Type.String(), manifest: Type.String() })),
});

/** `GET /v1/health`. */
export const HEALTH = Type.Object({
  status: Type.Enum(['ok', 'degraded'], { description: 'degraded: a source or sink has stopped, failed or has dead letters' }),
  version: Type.String(),
  troubles: Type.Array(Type.String()),
});
export type Health = Static<typeof HEALTH>;

/** The body of every answer that is not 2xx. */
export const API_ERROR = Type.Object({
  code: Type.String(),
  what: Type.String(),
  where: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()])),
  remedy: Type.String(),
});
export type ApiError = Static<typeof API_ERROR>;

/** The last line of a changelog that could not be read to its end. */
export const STREAM_FAULT = Type.Object({ error: API_ERROR });

const NAME = Type.String({ minLength: 1, maxLength: 100 });

export const SOURCE_PATH = Type.Object({ source: NAME });
export const SINK_PATH = Type.Object({ sink: NAME });

/** Largest `timeout` of a wait. */
export const MAX_WAIT_MS = 24 * 3_600_000;

export const WAIT_QUERY = Type.Object({
  at: Type.String({ minLength: 1, maxLength: 1000, description: 'An offset or a position of the source (lsn:0/16B3748, gtid:SET), which may be still to come; or a time, begin, horizon or end, of what the log has' }),
  timeout: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_WAIT_MS, default: 30_000, description: 'Milliseconds' })),
});

export const READ_QUERY = Type.Object({
  table: Type.String({ minLength: 1, description: 'Table pattern: public.orders, or public.*' }),
  from: Type.Optional(Type.String({ minLength: 1, maxLength: 1000, pattern: '^(?!0+$)', description: 'First offset; or a moment, behind which the first record stands' })),
  to: Type.Optional(Type.String({ minLength: 1, maxLength: 1000, description: 'Last offset; or a moment, up to which records stand' })),
  follow: Type.Optional(Type.Boolean({ description: 'At the end wait for more' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'Most records' })),
});

export const TABLE_BODY = Type.Object(
  { table: Type.String({ minLength: 3, description: 'schema.table; names that have a dot in them in double quotes' }) },
  { additionalProperties: false },
);

/** A value: its canonical text, null, bytes, or left out by the source. */
export const CELL = Type.Union([
  Type.String(),
  Type.Null(),
  Type.Object({ $bytes: Type.String() }),
  Type.Object({ $absent: Type.Literal(true) }),
]);
export type CellJson = Static<typeof CELL>;
const ROW = nullable(Type.Record(Type.String(), CELL));

export const TRANSACTION = Type.Object({
  kind: Type.String(),
  xid: Type.Integer(),
  /** Commit time by the source's clock. */
  time: Type.String(),
  origin: Type.String(),
  /** Its end at the source, as the source prints it; null: nothing had come from the source yet. */
  position: nullable(Type.String()),
});

/** A line of a changelog (record-json.ts). */
export const RECORD_LINE = Type.Object({
  offset: OFFSET,
  op: Type.Enum(['c', 'u', 'd', 'r', 't', 's', 'm', 'h']),
  flags: Type.Array(Type.String()),
  table: nullable(Type.String()),
  tableId: Type.Integer(),
  version: Type.Integer(),
  transaction: nullable(TRANSACTION),
  /** Of c, u, d, r; null for a keyless table. */
  key: Type.Optional(ROW),
  before: Type.Optional(ROW),
  after: Type.Optional(ROW),
  /** Of s. */
  schema: Type.Optional(
    Type.Object({
      columns: Type.Array(Type.Object({ name: Type.String(), type: Type.String(), nullable: Type.Boolean(), generated: Type.String() })),
      key: Type.Array(nullable(Type.String())),
    }),
  ),
  /** Of h. */
  control: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  /** Of m. */
  message: Type.Optional(Type.Object({ prefix: Type.String(), content: CELL })),
});
export type RecordJson = Static<typeof RECORD_LINE>;

/** The type of the lines of `GET /v1/sources/SOURCE/read`. */
export const NDJSON = 'application/x-ndjson';
