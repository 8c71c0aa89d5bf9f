import type { FastifyInstance } from 'fastify';
import type { Static } from 'typebox';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { HubService } from '../../service.ts';
import { COMPACT_BODY, type CompactLine } from './schemas.ts';
import { reporting } from '../line-pieces.ts';
import { openLog, type MomentRouteParts } from '../moments/routes.ts';
import { SOURCE_PATH } from '../schemas.ts';
import { endOf, streamLines } from '../streaming.ts';

export interface CompactRouteParts extends Pick<MomentRouteParts, 'log' | 'clock' | 'logger'> {
  readonly service: Pick<HubService, 'compactSource'>;
}

/** A client that goes away, and `closing`, end the work at its last step. */
export function addCompactRoutes(app: FastifyInstance, parts: CompactRouteParts, closing: AbortSignal): void {
  app.post<{ Params: Static<typeof SOURCE_PATH>; Body: Static<typeof COMPACT_BODY> }>(
    '/v1/sources/:source/compact',
    { schema: { params: SOURCE_PATH, body: COMPACT_BODY } },
    async (request, reply) => {
      const { source } = request.params;
      const { to = null } = request.body;
      const log = await openLog(parts.log, source);
      const signal = endOf(request, reply, closing);
      parts.logger.log('info', 'source.compact-asked', { source, to });
      async function* work(): AsyncGenerator<string, void, void> {
        const { from, horizon, to: wanted, hold } = await parts.service.compactSource(source, to, signal);
        yield text({ done: { from, horizon, to: wanted, hold: hold === null ? null : { ...hold } } });
      }
      return streamLines(reply, reporting(work(), () => progressLine(log), parts.clock), signal, parts.logger);
    },
  );
}

/** Null: nothing is under way. */
function progressLine(log: SourceLog): string | null {
  const { running } = log.compaction();
  if (running === null) return null;
  const { phase, to, bytes, totalBytes } = running;
  return text({ progress: { phase, horizon: log.state().horizon, to, bytes, totalBytes } });
}

function text(line: CompactLine): string {
  return `${JSON.stringify(line)}\n`;
}
