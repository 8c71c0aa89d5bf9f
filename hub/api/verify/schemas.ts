/** What goes over the API about verifications. */
import Type, { type Static } from 'typebox';
import type { VerifyEvent, VerifyReport, VerifyRequest } from '../../verify/report.ts';

const OFFSET = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const COUNT = Type.Integer({ minimum: 0 });
const text = Type.Union([Type.String(), Type.Null()]);

/** The body of `POST /v1/sinks/SINK/verify`. */
export const VERIFY_BODY = Type.Object(
  {
    tables: Type.Optional(Type.Array(Type.String({ minLength: 3, maxLength: 1000 }), { maxItems: 1000, description: 'Patterns; default: all tables of the sink' })),
    against: Type.Optional(Type.Enum(['log', 'source'], { default: 'source', description: 'log: the source is not read' })),
    repair: Type.Optional(Type.Boolean({ default: false })),
    rate: Type.Optional(
      Type.Union([
        Type.Object({ bytesPerSecond: Type.Number({ exclusiveMinimum: 0 }) }, { additionalProperties: false }),
        Type.Object({ rowsPerSecond: Type.Number({ exclusiveMinimum: 0 }) }, { additionalProperties: false }),
      ]),
    ),
  },
  { additionalProperties: false },
);
export type VerifyBody = Static<typeof VERIFY_BODY>;

export function requestOf({ tables = [], against = 'source', repair = false, rate }: VerifyBody): VerifyRequest {
  return { tables, against, repair, rate: rate ?? null };
}

export function bodyOf({ tables, against, repair, rate }: VerifyRequest): VerifyBody {
  return { tables: [...tables], against, repair, ...(rate === null ? {} : { rate }) };
}

const DIFFERENCE = Type.Object({
  kind: Type.Enum(['missing', 'extra', 'changed', 'count']),
  key: Type.String(),
  columns: Type.Array(Type.Object({ column: Type.String(), expected: text, found: text })),
  counts: Type.Object({ expected: Type.Integer(), found: Type.Integer() }),
  seen: Type.Enum(['still', 'once']),
  offset: OFFSET,
  repaired: Type.Boolean(),
});

const COMPARISON = Type.Object({
  sides: Type.Enum(['source-log', 'log-sink']),
  skipped: text,
  offset: OFFSET,
  position: text,
  rows: Type.Object({ expected: Type.Integer(), found: Type.Integer() }),
  buckets: COUNT,
  differingBuckets: COUNT,
  differences: COUNT,
  still: COUNT,
  repaired: COUNT,
  deadLetters: COUNT,
  expired: COUNT,
  outside: COUNT,
  first: Type.Array(DIFFERENCE),
});

const REPORT = Type.Object({
  sink: Type.String(),
  source: Type.String(),
  against: Type.Enum(['log', 'source']),
  outcome: Type.Enum(['equal', 'different', 'incomplete']),
  seconds: Type.Number(),
  tables: Type.Array(
    Type.Object({ table: Type.String(), tableId: Type.Integer(), comparisons: Type.Array(COMPARISON), recopied: Type.Boolean(), seconds: Type.Number() }),
  ),
});

const PROGRESS = Type.Object({
  table: Type.String(),
  index: COUNT,
  tables: COUNT,
  phase: Type.Enum(['opening', 'log', 'rows', 'differences', 'again', 'repair', 'copy']),
  rows: COUNT,
  ofRows: Type.Union([COUNT, Type.Null()]),
  etaSeconds: Type.Union([Type.Number(), Type.Null()]),
});

/** A line of the answer: progress, and the report as the last one. */
export const VERIFY_LINE = Type.Union([Type.Object({ progress: PROGRESS }), Type.Object({ report: REPORT })]);

type Frozen<T> = T extends object ? { readonly [K in keyof T]: Frozen<T[K]> } : T;
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
/** Do not compile when the schema and the type of the hub differ. */
export const VERIFY_LINE_IS_THE_HUB_S: Same<Frozen<Static<typeof VERIFY_LINE>>, Frozen<VerifyEvent>> = true;
export const VERIFY_REPORT_IS_THE_HUB_S: Same<Frozen<Static<typeof REPORT>>, Frozen<VerifyReport>> = true;
