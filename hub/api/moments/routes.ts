import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { LogEngine } from '../../../contracts/log-engine.ts';
import type { PositionCodec } from '../../../contracts/position.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import type { ScratchFolders } from '../../moments/scratch.ts';
import type { PrintPosition } from '../../print-position.ts';
import type { HubService } from '../../service.ts';
import { diffLines, historyLines, tableLines, type MomentParts } from './lines.ts';
import { DIFF_QUERY, HISTORY_QUERY, TABLE_QUERY, type DiffQuery, type HistoryQuery, type TableQuery } from './schemas.ts';
import { SOURCE_PATH } from '../schemas.ts';
import { endOf, streamLines } from '../streaming.ts';

/** What the routes of moments need. Owned by none of them. */
export interface MomentRouteParts extends Pick<Runtime, 'clock' | 'logger' | 'files'> {
  readonly log: Pick<LogEngine, 'sources' | 'open'>;
  readonly printPosition: PrintPosition;
  /** Of every connector there is. */
  readonly codecs: readonly PositionCodec[];
  readonly scratch: ScratchFolders;
  readonly service: Pick<HubService, 'status'>;
}

/** How often it is looked whether the disk has room, in milliseconds. */
const LOOK_MS = 2000;
/** Tables and differences that are put together at once: each may take two sorts of 32 MiB, and disk. */
const AT_ONCE = 6;

type SourcePath = { Params: Static<typeof SOURCE_PATH> };

/** `table`, `history` and `diff` of a source. `closing` ends them. */
export function addMomentRoutes(app: FastifyInstance, parts: MomentRouteParts, closing: AbortSignal): void {
  const places = new Places(AT_ONCE);
  const answer = async (request: FastifyRequest<SourcePath>, reply: FastifyReply, lines: (of: MomentParts) => AsyncGenerator<string>): Promise<FastifyReply> => {
    const { files, clock, logger, codecs, printPosition, scratch } = parts;
    const log = await openLog(parts.log, request.params.source);
    const end = endOf(request, reply, closing);
    const made = whileThereIsRoom(parts, end, (signal) => lines({ log, files, scratch, clock, codecs, printPosition, signal }));
    return streamLines(reply, places.hold(() => made), end, logger);
  };
  app.get<SourcePath & { Querystring: TableQuery }>(
    '/v1/sources/:source/table',
    { schema: { params: SOURCE_PATH, querystring: TABLE_QUERY } },
    (request, reply) => answer(request, reply, (of) => tableLines(of, request.query)),
  );
  app.get<SourcePath & { Querystring: HistoryQuery }>(
    '/v1/sources/:source/history',
    { schema: { params: SOURCE_PATH, querystring: HISTORY_QUERY } },
    (request, reply) => answer(request, reply, (of) => historyLines(of, request.query)),
  );
  app.get<SourcePath & { Querystring: DiffQuery }>(
    '/v1/sources/:source/diff',
    { schema: { params: SOURCE_PATH, querystring: DIFF_QUERY } },
    (request, reply) => answer(request, reply, (of) => diffLines(of, request.query)),
  );
}

/** @throws TidemarkError `SOURCE_UNKNOWN` */
export async function openLog(engine: Pick<LogEngine, 'sources' | 'open'>, source: string): ReturnType<LogEngine['open']> {
  if (!(await engine.sources()).includes(source)) throw new TidemarkError('SOURCE_UNKNOWN', `there is no source ${source}`, { where: { source } });
  return engine.open(source, { create: false });
}

/**
 * Sorting takes room on the disk that capture needs more: it is given up when that gets short.
 * @throws TidemarkError `LOG_DISK_FULL`
 */
async function* whileThereIsRoom({ service, clock, logger }: MomentRouteParts, end: AbortSignal, lines: (signal: AbortSignal) => AsyncGenerator<string>): AsyncGenerator<string> {
  const short = new AbortController();
  const look = async (): Promise<void> => {
    const { level } = (await service.status()).disk;
    if (level === 'ok' || level === 'low') return;
    short.abort(new TidemarkError('LOG_DISK_FULL', 'the disk is too short of room for sorting', { remedy: 'Free space on that disk, and ask again.' }));
  };
  await look();
  using _ticker = clock.every(LOOK_MS, () => {
    look().catch((error: unknown) => logger.log('warn', 'api.failed', { code: 'INTERNAL', error }));
  });
  const made = lines(AbortSignal.any([end, short.signal]));
  // What waits for a client that takes nothing does not hear of the signal: it is ended, and its files go.
  short.signal.addEventListener('abort', () => {
    made.return(undefined).catch((error: unknown) => logger.log('error', 'api.failed', { code: 'INTERNAL', error }));
  });
  try {
    short.signal.throwIfAborted();
    yield* made;
    short.signal.throwIfAborted();
  } catch (failure) {
    throw short.signal.aborted ? short.signal.reason : failure;
  }
}

/** So many at once; who comes then is told so, and does not wait: those before may read as slowly as they like. */
class Places {
  #free: number;

  constructor(places: number) {
    this.#free = places;
  }

  /** @throws TidemarkError `API_BUSY` when it is begun */
  async *hold(lines: () => AsyncGenerator<string>): AsyncGenerator<string> {
    if (this.#free === 0) throw new TidemarkError('API_BUSY', 'the hub puts together as many tables and differences as it does at once');
    this.#free--;
    try {
      yield* lines();
    } finally {
      this.#free++;
    }
  }
}
