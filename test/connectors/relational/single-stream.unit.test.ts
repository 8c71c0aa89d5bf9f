import { describe, expect, it } from 'vitest';
import { BatchBuilder, type ChangeBatch } from '../../../contracts/change-batch.ts';
import { SingleStream, type Opened } from '../../../connectors/relational/single-stream.ts';

const NEVER = new AbortController().signal;

/** Connects when the test lets it, and notes what it is told. */
function scripted(signal: AbortSignal = NEVER) {
  const opening = Promise.withResolvers<void>();
  const told: string[] = [];
  const batches: ChangeBatch[] = [];
  const opened: Opened = {
    live: {
      acknowledge: ({ highWatermark }) => void told.push(`acknowledge ${highWatermark}`),
      requestProgress: () => void told.push('progress'),
      announce: (tables) => void told.push(`announce ${tables.length}`),
    },
    batches: {
      next: () => Promise.resolve(batches.shift() ?? null),
      end: () => void told.push('end'),
    },
  };
  const stream = new SingleStream({
    open: async (either) => {
      await opening.promise;
      either.throwIfAborted();
      return opened;
    },
    closed: () => {
      told.push('closed');
      return Promise.resolve();
    },
    ended: () => void told.push('ended'),
  }, signal);
  return { stream, opening, told, batches };
}

describe('a stream with one life', () => {
  it('is told, once it is open, what was said while it was being opened', async () => {
    const { stream, opening, told, batches } = scripted();
    batches.push(new BatchBuilder().take());
    const first = stream[Symbol.asyncIterator]().next();
    stream.requestProgress();
    stream.acknowledge({ highWatermark: 3, position: null });
    stream.announce([]);
    opening.resolve();
    expect((await first).done).toBe(false);
    expect(told).toEqual(['acknowledge 3', 'progress']);
    stream.requestProgress();
    expect(told.at(-1)).toBe('progress');
  });

  it('ends without an error when it is stopped while it is being opened, and closes what it has', async () => {
    const stop = new AbortController();
    const { stream, opening, told } = scripted(stop.signal);
    const first = stream[Symbol.asyncIterator]().next();
    stop.abort();
    opening.resolve();
    expect((await first).done).toBe(true);
    expect(told).toEqual(['closed', 'ended']);
  });

  it('fails with what opening fails with, and cannot be iterated again', async () => {
    const { stream, opening } = scripted();
    const first = stream[Symbol.asyncIterator]().next();
    opening.reject(new Error('no server'));
    await expect(first).rejects.toThrow('no server');
    await expect(stream[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'INTERNAL' });
  });
});
