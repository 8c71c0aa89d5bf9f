import { fastify, type FastifyInstance, type FastifyReply, type RouteShorthandOptions } from 'fastify';
import type { Static } from 'typebox';
import { TidemarkError, asTidemarkError } from '../../contracts/errors/error.ts';
import type { EventName } from '../../contracts/events.ts';
import type { EmbeddedLogEngine } from '../log/embedded/engine.ts';
import { exactTableName } from '../config/table-patterns.ts';
import { sampleStatus } from '../observability/status-metrics.ts';
import { createMetrics, type MetricsRegistry } from '../runtime/metrics.ts';
import type { HubService, HubStatus, WaitTarget } from '../service.ts';
import { errorBody, statusOf } from './answers.ts';
import { changelogLines } from './changelog/changelog.ts';
import { holdLines } from './hold.ts';
import { addCompactRoutes } from './compact/routes.ts';
import { addRebuildRoutes } from './rebuild/routes.ts';
import { refusalOf } from './local-request.ts';
import { addMomentRoutes, openLog, type MomentRouteParts } from './moments/routes.ts';
import { readRange, waitTarget } from './changelog/named-offsets.ts';
import {
  READ_QUERY,
  SINK_PATH,
  SOURCE_PATH,
  TABLE_BODY,
  WAIT_QUERY,
  type Done,
  type Health,
  type Tables,
  type Waited,
} from './schemas.ts';
import { endOf, streamLines } from './streaming.ts';
import { addVerifyRoutes } from './verify/routes.ts';

/** What the API speaks for. It owns none of it. */
export interface ApiParts extends MomentRouteParts {
  readonly service: HubService;
  readonly log: MomentRouteParts['log'] & Pick<EmbeddedLogEngine, 'hold'>;
  readonly metrics: MetricsRegistry;
  /** Reads the configuration again and applies it; answers what was done, for people. */
  reload(): Promise<string[]>;
}

const WAIT_DEFAULT_MS = 30_000;
const MAX_BODY_BYTES = 64 << 10;

/** The routes, ready to be put behind a server. `closing` ends what waits and what streams. */
export function createApp(parts: ApiParts, closing: AbortSignal): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    ajv: { customOptions: { removeAdditional: false } },
  });
  app.addHook('onRequest', async (request) => {
    const refusal = refusalOf(request.headers);
    if (refusal !== null) throw new TidemarkError('API_REQUEST', refusal);
  });
  app.setNotFoundHandler(async (request, reply) => {
    const error = new TidemarkError('API_REQUEST', `there is no ${request.method} ${request.url.split('?', 1)[0]}`);
    return reply.status(404).send(errorBody(error));
  });
  app.setErrorHandler((error, _request, reply) => sendError(error, reply, parts));
  addQueries(app, parts, closing);
  addMomentRoutes(app, parts, closing);
  addActions(app, parts);
  addRebuildRoutes(app, parts, closing);
  addVerifyRoutes(app, parts, closing);
  addCompactRoutes(app, parts, closing);
  return app;
}

function sendError(error: unknown, reply: FastifyReply, parts: ApiParts): FastifyReply {
  if (isClientFault(error)) {
    return reply.status(error.statusCode).send(errorBody(new TidemarkError('API_REQUEST', error.message)));
  }
  // Nobody reads it, and it is no fault.
  if (reply.raw.destroyed && isPrematureEnd(error)) return reply.send();
  const known = asTidemarkError(error, 'INTERNAL');
  const status = statusOf(known.code);
  if (status >= 500 && known.code !== 'WAIT_TIMEOUT' && known.code !== 'ABORTED') {
    parts.logger.log('error', 'api.failed', { code: known.code, error });
  }
  return reply.status(status).send(errorBody(known));
}

/** A stream that was ended since the client has gone, before its first byte was sent. */
function isPrematureEnd(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE';
}

/** Fastify's own refusals: a schema that does not fit, a body too large, an unknown media type. */
function isClientFault(error: unknown): error is Error & { statusCode: number } {
  if (!(error instanceof Error) || !('statusCode' in error) || typeof error.statusCode !== 'number') return false;
  return error.statusCode >= 400 && error.statusCode < 500;
}

function addQueries(app: FastifyInstance, parts: ApiParts, closing: AbortSignal): void {
  const { service } = parts;
  app.get('/v1/status', async (): Promise<HubStatus> => service.status());
  app.get('/v1/tables', async (): Promise<Tables> => {
    const { sources } = await service.status();
    return { sources: sources.map(({ name, tables }) => ({ name, tables: tables.map((table) => ({ ...table, consistent: [...table.consistent] })) })) };
  });
  app.get('/v1/health', async (): Promise<Health> => healthOf(await service.status()));
  app.get('/metrics', async (_request, reply) => {
    const sampled = createMetrics();
    sampleStatus(await service.status(), sampled);
    reply.type(sampled.contentType);
    return `${await sampled.text()}${await parts.metrics.text()}`;
  });
  app.get('/v1/hold', async (request, reply) => {
    const signal = endOf(request, reply, closing);
    const isFull = async (): Promise<boolean> => (await service.status()).disk.level === 'full';
    return streamLines(reply, holdLines(() => parts.log.hold(), isFull, parts.clock, signal), signal, parts.logger);
  });
  app.get<{ Params: Static<typeof SINK_PATH>; Querystring: Static<typeof WAIT_QUERY> }>(
    '/v1/sinks/:sink/wait',
    { schema: { params: SINK_PATH, querystring: WAIT_QUERY } },
    async (request, reply): Promise<Waited> => {
      const { sink } = request.params;
      const { at, timeout = WAIT_DEFAULT_MS } = request.query;
      const signal = endOf(request, reply, closing);
      const target = await waitTarget(at, sink, parts, { codecs: parts.codecs, now: parts.clock.now(), signal });
      return { sink, offset: await waitFor(parts, sink, target, timeout, signal) };
    },
  );
  app.get<{ Params: Static<typeof SOURCE_PATH>; Querystring: Static<typeof READ_QUERY> }>(
    '/v1/sources/:source/read',
    { schema: { params: SOURCE_PATH, querystring: READ_QUERY } },
    async (request, reply) => {
      const { codecs, printPosition, clock, logger } = parts;
      const { table, from, to, follow, limit } = request.query;
      const log = await openLog(parts.log, request.params.source);
      const signal = endOf(request, reply, closing);
      const range = await readRange(log, { from, to }, { codecs, now: clock.now(), signal });
      return streamLines(reply, changelogLines(log, { table, ...range, follow, limit, printPosition, signal }), signal, logger);
    },
  );
}

async function waitFor(parts: ApiParts, sink: string, target: WaitTarget, timeoutMs: number, end: AbortSignal): Promise<number> {
  const own = new AbortController();
  const timeout = new TidemarkError('WAIT_TIMEOUT', `${sink} did not get there in ${timeoutMs} ms`, { where: { sink } });
  const timer = parts.clock.sleep(timeoutMs, own.signal).then(
    () => own.abort(timeout),
    () => undefined,
  );
  try {
    return await parts.service.wait(sink, target, AbortSignal.any([own.signal, end]));
  } catch (error) {
    // Whatever the service makes of the abort: the reason is what happened.
    if (end.aborted) throw asTidemarkError(end.reason, 'ABORTED');
    if (own.signal.aborted && !(error instanceof TidemarkError && error.code === 'WAIT_TIMEOUT')) throw timeout;
    throw error;
  } finally {
    own.abort();
    await timer;
  }
}

function healthOf(status: HubStatus): Health {
  const troubles = [
    ...status.sources.filter(({ state }) => state === 'failed' || state === 'stopped').map(({ name, state }) => `source ${name}: ${state}`),
    ...status.sources.flatMap(({ name, tables }) => tables.filter(({ state }) => state === 'stopped').map(({ table }) => `source ${name}, table ${table}: stopped`)),
    ...status.sinks.filter(({ state }) => state === 'failed' || state === 'stopped').map(({ name, state }) => `sink ${name}: ${state}`),
    ...status.sinks.filter(({ rebuild }) => rebuild?.state === 'failed').map(({ name }) => `rebuild of sink ${name}: failed`),
    ...status.sinks.filter(({ degraded }) => degraded).map(({ name }) => `sink ${name}: degraded`),
  ];
  return { status: troubles.length === 0 ? 'ok' : 'degraded', version: status.version, troubles };
}

function addActions(app: FastifyInstance, parts: ApiParts): void {
  const { service, logger } = parts;
  const sinkAction = (verb: 'pause' | 'resume' | 'retry', act: (sink: string) => Promise<void>, done: string): void => {
    app.post<{ Params: Static<typeof SINK_PATH> }>(`/v1/sinks/:sink/${verb}`, { schema: { params: SINK_PATH } }, async ({ params: { sink } }): Promise<Done> => {
      await act(sink);
      logger.log('info', `sink.${verb}-asked`, { sink });
      return { done: [`sink ${sink} ${done}`] };
    });
  };
  sinkAction('pause', (sink) => service.pauseSink(sink), 'is paused');
  sinkAction('resume', (sink) => service.resumeSink(sink), 'goes on');
  sinkAction('retry', (sink) => service.retrySink(sink), 'tries again');
  const ofTable: RouteShorthandOptions = { schema: { params: SOURCE_PATH, body: TABLE_BODY } };
  type OfTable = { Params: Static<typeof SOURCE_PATH>; Body: Static<typeof TABLE_BODY> };
  const tableAction = (verb: 'add-table' | 'recopy', event: EventName, act: (source: string, table: string) => Promise<void>, done: string): void => {
    app.post<OfTable>(`/v1/sources/:source/${verb}`, ofTable, async ({ params: { source }, body }): Promise<Done> => {
      const table = exactTableName(body.table);
      await act(source, table);
      logger.log('info', event, { source, table });
      return { done: [`table ${table} of source ${source} ${done}`] };
    });
  };
  tableAction('add-table', 'source.table-added', (source, table) => service.addTable(source, table), 'is captured; one that is new is copied first');
  tableAction('recopy', 'source.recopy-asked', (source, table) => service.recopy(source, table), 'is copied again');
  app.post<{ Params: Static<typeof SOURCE_PATH> }>('/v1/sources/:source/resync', { schema: { params: SOURCE_PATH } }, async ({ params: { source } }): Promise<Done> => {
    await service.resync(source);
    logger.log('info', 'source.resync-asked', { source });
    return { done: [`source ${source} begins again where it is now: a gap is recorded, and every table is copied again`] };
  });
  app.post('/v1/reload', async (): Promise<Done> => ({ done: await parts.reload() }));
}
