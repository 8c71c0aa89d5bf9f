import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { TidemarkError, asTidemarkError } from '../../contracts/errors/error.ts';
import type { Logger } from '../../contracts/runtime.ts';
import { errorBody } from './answers.ts';
import { NDJSON } from './schemas.ts';

/**
 * Sends lines as they are asked for: a client that reads slowly is what asks slowly. Owns the generator: it is ended when
 * it is through or the client goes away. The first piece is awaited, so that a fault found by then is a proper answer; a
 * later one is the last line of the stream, since the status has been sent.
 */
export async function streamLines(reply: FastifyReply, lines: AsyncGenerator<string>, signal: AbortSignal, logger: Logger): Promise<FastifyReply> {
  const first = await lines.next();
  async function* all(): AsyncGenerator<string> {
    if (first.done === true) return;
    try {
      yield first.value;
      yield* lines;
    } catch (failure) {
      const error = signal.aborted ? asTidemarkError(signal.reason, 'ABORTED') : asTidemarkError(failure, 'INTERNAL');
      if (error.code !== 'ABORTED') logger.log('error', 'api.failed', { code: error.code, error });
      yield `${JSON.stringify({ error: errorBody(error) })}\n`;
    }
  }
  const body = Readable.from(all(), { objectMode: false });
  // A client that went away before the first byte was read has never started the generator above.
  body.once('close', () => {
    lines.return(undefined).catch((error: unknown) => logger.log('error', 'api.failed', { code: 'INTERNAL', error }));
  });
  return reply.type(NDJSON).send(body);
}

/** Aborts when the client goes away or the API closes. */
export function endOf(request: FastifyRequest, reply: FastifyReply, closing: AbortSignal): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort(new TidemarkError('ABORTED', `the client of request ${request.id} went away`));
  });
  return AbortSignal.any([gone.signal, closing]);
}
