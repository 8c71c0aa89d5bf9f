import type { FastifyInstance } from 'fastify';
import type { Static } from 'typebox';
import type { Logger } from '../../../contracts/runtime.ts';
import type { HubService } from '../../service.ts';
import type { VerifyEvent } from '../../verify/report.ts';
import { SINK_PATH } from '../schemas.ts';
import { endOf, streamLines } from '../streaming.ts';
import { requestOf, VERIFY_BODY, type VerifyBody } from './schemas.ts';

export interface VerifyRouteParts {
  readonly service: Pick<HubService, 'verify'>;
  readonly logger: Logger;
}

/** Progress as it comes, a line each, and the report as the last one. A client that goes away ends the verification. */
export function addVerifyRoutes(app: FastifyInstance, { service, logger }: VerifyRouteParts, closing: AbortSignal): void {
  app.post<{ Params: Static<typeof SINK_PATH>; Body: VerifyBody }>(
    '/v1/sinks/:sink/verify',
    { schema: { params: SINK_PATH, body: VERIFY_BODY } },
    async (request, reply) => {
      const { sink } = request.params;
      const asked = requestOf(request.body);
      logger.log('info', 'sink.verify-asked', { sink, against: asked.against, repair: asked.repair });
      const signal = endOf(request, reply, closing);
      return streamLines(reply, linesOf(service.verify(sink, asked, signal)), signal, logger);
    },
  );
}

async function* linesOf(events: AsyncIterable<VerifyEvent>): AsyncGenerator<string, void, void> {
  for await (const event of events) yield `${JSON.stringify(event)}\n`;
}
