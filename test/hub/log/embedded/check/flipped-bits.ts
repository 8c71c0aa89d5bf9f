import fc from 'fast-check';
import { join } from 'node:path';
import { expect } from 'vitest';
import { NEVER, SOURCE } from '../../../../../contracts/kit/log-engine-kit-common.ts';
import { checkLog, unreadableManifest } from '../../../../../hub/log/embedded/check/check-log.ts';
import type { LogFinding } from '../../../../../hub/log/embedded/check/finding.ts';
import { EmbeddedLogEngine } from '../../../../../hub/log/embedded/engine.ts';
import { logFolders, stoppedLog } from '../../../../../hub/log/embedded/held-log.ts';
import { FaultyFiles } from '../../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../../../fixtures/runtime.ts';
import { writeFullLog } from '../full-log.ts';
import { logText } from '../log-text.ts';

export const DATA = '/data';
export const FOLDER = '/data/log/shop';

export async function fullLog(seed: number): Promise<FaultyFiles> {
  const files = new FaultyFiles(seededRandom(seed));
  await writeFullLog(files, DATA, { seed });
  return files;
}

/** What `tidemark log verify` finds in the folder of a stopped hub. */
export async function checked(files: FaultyFiles, scratch: string | null = null): Promise<LogFinding[]> {
  const findings: LogFinding[] = [];
  for (const { source, folder } of await logFolders(files, DATA)) {
    try {
      const log = await stoppedLog(files, DATA, folder);
      await checkLog({ files, data: DATA, log, scratch, found: (finding) => findings.push(finding), progress: () => undefined, signal: NEVER });
    } catch (error) {
      findings.push(unreadableManifest(source, 'manifest', error));
    }
  }
  return findings;
}

/** What a reader gets: the text of the log, or null where it meets damage. */
async function read(files: FaultyFiles): Promise<string | null> {
  try {
    await using engine = await EmbeddedLogEngine.openReadOnly(DATA, createTestRuntime({ files }));
    return await logText(await engine.open(SOURCE, { create: false }));
  } catch {
    return null;
  }
}

/**
 * Bits flipped anywhere in any file of logs with everything in them: a reader gets what was written or an error, and the
 * check finds whatever a reader would meet.
 */
export async function checkFlips(seeds: readonly number[], runs: number): Promise<void> {
  const logs = new Map<number, { files: FaultyFiles; text: string | null; names: string[] }>();
  for (const seed of seeds) {
    const files = await fullLog(seed);
    logs.set(seed, { files, text: await read(files), names: await files.list(FOLDER) });
  }
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...logs.keys()), fc.nat(), fc.nat(), fc.integer({ min: 0, max: 7 }), async (seed, file, byte, bit) => {
      const whole = logs.get(seed);
      if (whole === undefined) throw new Error('no such log');
      const path = join(FOLDER, whole.names[file % whole.names.length] ?? '');
      const files = whole.files.fork();
      const at = byte % files.bytes(path).length;
      files.damage(path, at, 1 << bit);
      const findings = await checked(files);
      const text = await read(files);
      if (text === null) expect([path, at, findings.length > 0]).toEqual([path, at, true]);
      else expect([path, at, text === whole.text]).toEqual([path, at, true]);
    }),
    { numRuns: runs },
  );
}
