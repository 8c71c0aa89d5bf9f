import { cp, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { transactionBatch } from '../../../../../contracts/kit/log-workload.ts';
import { NEVER } from '../../../../../contracts/kit/log-engine-kit-common.ts';
import { checkLog } from '../../../../../hub/log/embedded/check/check-log.ts';
import type { LogFinding } from '../../../../../hub/log/embedded/check/finding.ts';
import { EmbeddedLogEngine } from '../../../../../hub/log/embedded/engine.ts';
import { stoppedLog } from '../../../../../hub/log/embedded/held-log.ts';
import { nodeFiles } from '../../../../../hub/runtime/node-files.ts';
import { createTestRuntime } from '../../../../fixtures/runtime.ts';
import { temporaryDirectory } from '../../../../fixtures/temp.ts';
import { logText } from '../log-text.ts';
import { noLock } from '../no-lock.ts';

const SOURCE = 'shop';
const folders = (await readdir(import.meta.dirname, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name);

describe.each(folders)('a log written as %s', (name) => {
  const golden = join(import.meta.dirname, name);

  it('reads as it did when it was written', async () => {
    await using engine = await EmbeddedLogEngine.openReadOnly(join(golden, 'data'), createTestRuntime());
    expect(await logText(await engine.open(SOURCE, { create: false }))).toBe(await readFile(join(golden, 'expected.ndjson'), 'utf8'));
  });

  it('is found whole', async () => {
    const findings: LogFinding[] = [];
    const log = await stoppedLog(nodeFiles, join(golden, 'data'), SOURCE);
    await using folder = await temporaryDirectory('golden');
    await checkLog({ files: nodeFiles, data: join(golden, 'data'), log, scratch: join(folder.path, 'sort'), found: (finding) => findings.push(finding), progress: () => undefined, signal: NEVER });
    expect(findings).toEqual([]);
  });

  it('is opened for writing, goes on, and keeps all that was in it', async () => {
    await using folder = await temporaryDirectory('golden');
    const data = join(folder.path, 'data');
    await cp(join(golden, 'data'), data, { recursive: true });
    await using engine = await EmbeddedLogEngine.create(data, createTestRuntime({ seed: 99 }), { lock: noLock });
    const log = await engine.open(SOURCE, { create: false });
    const before = (await readFile(join(golden, 'expected.ndjson'), 'utf8')).split('\n').slice(1, -1);
    const { highWatermark } = log.state();
    {
      await using writer = await log.openWriter(() => undefined);
      await writer.append(transactionBatch({ rows: 2, position: 9000, schema: true, tableId: 50 }));
      await writer.flush();
    }
    expect(log.state().highWatermark).toBe(highWatermark + 3);
    const after = new Set((await logText(log)).split('\n'));
    expect(before.filter((line) => !after.has(line))).toEqual([]);
  });
});
