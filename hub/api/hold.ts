/**
 * The files of the logs, held for somebody in another process: one line says what is held, empty ones that it still is.
 * What ends the stream, on either side, ends the hold.
 */
import type { Static } from 'typebox';
import { Check } from 'typebox/value';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock } from '../../contracts/runtime.ts';
import type { FolderHold, HeldFolder, RunningHold } from '../log/embedded/held-log.ts';
import { decodeManifest, encodeManifest } from '../log/embedded/manifest.ts';
import type { ApiClient } from './client.ts';
import { HELD_LINE } from './schemas.ts';

/** So often whoever holds is told that it still does. */
const SIGN_MS = 2_000;

/**
 * What the hub sends. @param isFull capture has stopped, since the disk has no room
 * @throws TidemarkError `LOG_UNKNOWN`, `ABORTED` when the hub ends, `LOG_DISK_FULL` when files are held of which the room is needed
 */
export async function* holdLines(hold: () => Promise<RunningHold>, isFull: () => Promise<boolean>, clock: Clock, signal: AbortSignal): AsyncGenerator<string> {
  await using held = await hold();
  const { data, logs } = held.folder;
  const line: Static<typeof HELD_LINE> = {
    data,
    logs: logs.map(({ source, folder, manifest }) => ({ source, folder, manifest: encodeManifest(manifest).toString('utf8') })),
  };
  yield `${JSON.stringify(line)}\n`;
  for (;;) {
    await clock.sleep(SIGN_MS, signal);
    // Capture comes before a backup.
    if (held.keepsRemoved() && (await isFull())) {
      throw new TidemarkError('LOG_DISK_FULL', 'the room of files that were held is needed', { remedy: 'Free space on that disk, and begin again.' });
    }
    yield '\n';
  }
}

export interface RemoteHold extends FolderHold {
  /** Aborts when the hub does not hold the files any more. */
  readonly lost: AbortSignal;
}

/** Has a running hub hold its files. @throws TidemarkError what {@link ApiClient} throws */
export async function holdAt(client: ApiClient, signal: AbortSignal): Promise<RemoteHold> {
  const own = new AbortController();
  const lost = new AbortController();
  const lines = client.hold(AbortSignal.any([signal, own.signal]));
  const first = await lines.next();
  if (first.done === true) throw new TidemarkError('API_ANSWER', 'the hub does not say what it holds');
  const folder = heldFolder(first.value);
  const rest = untilLost(lines, lost);
  return {
    folder,
    lost: lost.signal,
    async [Symbol.asyncDispose]() {
      own.abort();
      await rest;
    },
  };
}

async function untilLost(lines: AsyncGenerator<string>, lost: AbortController): Promise<void> {
  const why = 'the hub does not hold the files any more: it has ended, or its disk is full';
  try {
    for await (const _sign of lines);
    lost.abort(new TidemarkError('ABORTED', why));
  } catch (cause) {
    lost.abort(new TidemarkError('ABORTED', why, { cause }));
  }
}

function heldFolder(piece: string): HeldFolder {
  const [line = ''] = piece.split('\n', 1);
  const value: unknown = JSON.parse(line);
  if (!Check(HELD_LINE, value)) throw new TidemarkError('API_ANSWER', 'what the hub holds is not understood');
  const logs = value.logs.map(({ source, folder, manifest }) => ({ source, folder, manifest: decodeManifest(Buffer.from(manifest, 'utf8'), folder) }));
  return { data: value.data, logs };
}
