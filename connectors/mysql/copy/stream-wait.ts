import type { StreamProgress } from './copier-deps.ts';
import { hasPassed, type SourceView } from './source-view.ts';

/** Waits until the stream has passed that end. @throws TidemarkError `ABORTED`, or what the stream has ended with */
export async function streamPassed(stream: StreamProgress, end: Pick<SourceView, 'server' | 'end' | 'endGtids'>, signal: AbortSignal): Promise<void> {
  for (;;) {
    const { place } = stream;
    if (place !== null && hasPassed(end, place)) return;
    await stream.moved(signal);
  }
}
