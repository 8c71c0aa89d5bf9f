import type { FastifyInstance } from 'fastify';
import type { Static } from 'typebox';
import type { Logger } from '../../../contracts/runtime.ts';
import type { HubService } from '../../service.ts';
import { REBUILD_BODY, type RebuildAnswerBody } from './schemas.ts';
import { SINK_PATH, type Done } from '../schemas.ts';
import { endOf } from '../streaming.ts';

export interface RebuildRouteParts {
  readonly service: Pick<HubService, 'rebuildSink' | 'cancelRebuild'>;
  readonly logger: Logger;
}

type OfSink = { Params: Static<typeof SINK_PATH> };

export function addRebuildRoutes(app: FastifyInstance, { service, logger }: RebuildRouteParts, closing: AbortSignal): void {
  app.post<OfSink & { Body: Static<typeof REBUILD_BODY> }>(
    '/v1/sinks/:sink/rebuild',
    { schema: { params: SINK_PATH, body: REBUILD_BODY } },
    async (request, reply): Promise<RebuildAnswerBody> => {
      const { tables = null, to = null, fromScratch = false } = request.body;
      const { id, to: offset, findings } = await service.rebuildSink(request.params.sink, { tables, to, fromScratch }, endOf(request, reply, closing));
      return { id, to: offset, findings: [...findings] };
    },
  );
  app.post<OfSink>('/v1/sinks/:sink/rebuild/cancel', { schema: { params: SINK_PATH } }, async (request, reply): Promise<Done> => {
    const { sink } = request.params;
    logger.log('info', 'rebuild.cancel-asked', { sink });
    return { done: [await service.cancelRebuild(sink, endOf(request, reply, closing))] };
  });
}
