/** What goes over the API about rebuilds of sinks, as JSON Schemas with their types. */
import Type, { type Static } from 'typebox';

const OFFSET = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** Why a sink rests. */
export const PAUSE = Type.Object({ by: Type.Enum(['operator', 'rebuild']), offset: OFFSET, at: Type.String() });

/** The last rebuild of a sink. @param error the schema of an error in a status */
export const rebuildView = <T extends Type.TSchema>(error: T) =>
  Type.Object({
    id: Type.String(),
    state: Type.Enum(['running', 'retrying', 'failed', 'done', 'cancelled']),
    phase: Type.Enum(['waiting', 'loading', 'catching up', 'building indexes', 'swapping', 'clearing', 'replaying', 'discarding']),
    what: Type.String(),
    rows: Type.Number(),
    rowsPerSecond: Type.Number(),
    part: nullable(Type.Number({ minimum: 0, maximum: 1 })),
    etaSeconds: nullable(Type.Number()),
    tables: nullable(Type.Array(Type.String())),
    to: nullable(OFFSET),
    offset: OFFSET,
    startedAt: Type.String(),
    endedAt: nullable(Type.String()),
    why: Type.String(),
    error: nullable(error),
  });

/** Tables that one rebuild may name. */
const MOST_TABLES = 10_000;

/** `POST /v1/sinks/SINK/rebuild`. */
export const REBUILD_BODY = Type.Object(
  {
    tables: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 1000 }), { minItems: 1, maxItems: MOST_TABLES, description: 'Table patterns; left out: the whole sink' }),
    ),
    to: Type.Optional(
      Type.String({ minLength: 1, maxLength: 1000, description: 'An offset, a time, a position, horizon or end: the sink is put there and rests; left out: to where it stands' }),
    ),
    fromScratch: Type.Optional(Type.Boolean({ description: 'Remove first what an earlier rebuild has filled' })),
  },
  { additionalProperties: false },
);

const FINDING = Type.Object({
  severity: Type.Enum(['error', 'warning', 'ok']),
  code: Type.String(),
  what: Type.String(),
  remedy: Type.String(),
  table: Type.Optional(Type.String()),
});

/** Its answer. `id` null: refused, for the errors among the findings. */
export const REBUILD_ANSWER = Type.Object({ id: nullable(Type.String()), to: nullable(OFFSET), findings: Type.Array(FINDING) });
export type RebuildAnswerBody = Static<typeof REBUILD_ANSWER>;
