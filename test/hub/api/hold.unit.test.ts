import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode, NEVER } from '../../../contracts/kit/log-engine-kit-common.ts';
import { ApiClient } from '../../../hub/api/client.ts';
import { holdAt } from '../../../hub/api/hold.ts';
import { startApi, type Api } from '../../../hub/api/server.ts';
import type { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import type { LogCore } from '../../../hub/log/embedded/log-core.ts';
import { ScratchFolders } from '../../../hub/moments/scratch.ts';
import { createMetrics } from '../../../hub/runtime/metrics.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { ScriptedService, STATUS } from './scripted-service.ts';
import { fillShop, openEngine, printPosition, RECORDS } from './shop-log.ts';

let folder: TemporaryDirectory;
let engine: EmbeddedLogEngine;
let api: Api;
let client: ApiClient;
let core: LogCore;
let service: ScriptedService;

beforeEach(async () => {
  folder = await temporaryDirectory('hold');
  const runtime = createTestRuntime();
  engine = await openEngine(folder.path, runtime);
  await fillShop(engine);
  service = new ScriptedService();
  core = (await engine.open('shop', { create: false })).core;
  api = await startApi({
    service, log: engine, metrics: createMetrics(), data: folder.path, http: null, printPosition, codecs: [],
    scratch: new ScratchFolders(runtime.files, folder.path, 'test'), clock: runtime.clock, files: runtime.files, logger: runtime.logger,
    reload: () => Promise.resolve([]),
  });
  client = new ApiClient({ socket: api.socket });
});
afterEach(async () => {
  await api[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** A file of the log that leaves it; true when it is gone from the disk, too. */
async function isRemoved(): Promise<boolean> {
  const path = core.segmentPath(1_000_000);
  await writeFile(path, '');
  await core.discard(path);
  return !(await core.files.exists(path));
}

describe('holding the files of a running hub', () => {
  it('says what is held, keeps it while anybody holds it, and gives it free', async () => {
    const first = await holdAt(client, NEVER);
    const second = await holdAt(client, NEVER);
    expect(first.folder).toMatchObject({ data: folder.path, logs: [{ source: 'shop', folder: 'shop' }] });
    expect(first.folder.logs[0]?.manifest.segments.at(-1)).toMatchObject({ last: RECORDS });
    expect(await isRemoved()).toBe(false);
    await first[Symbol.asyncDispose]();
    expect(await isRemoved()).toBe(false);
    await second[Symbol.asyncDispose]();
    await expect.poll(isRemoved, { timeout: 10_000 }).toBe(true);
    expect(await core.files.exists(core.segmentPath(1_000_000))).toBe(false);
  });

  it('is lost when the hub ends, and says so', async () => {
    const hold = await holdAt(client, NEVER);
    expect(hold.lost.aborted).toBe(false);
    await api[Symbol.asyncDispose]();
    await expect.poll(() => hold.lost.aborted, { timeout: 10_000 }).toBe(true);
    expect(hold.lost.reason).toMatchObject({ code: 'ABORTED', message: expect.stringContaining('does not hold the files') as string });
    await hold[Symbol.asyncDispose]();
  });

  it('is given up when the disk is full and needs the room of what has left the log', async () => {
    const hold = await holdAt(client, NEVER);
    service.view = { ...STATUS, disk: { ...STATUS.disk, level: 'full' } };
    const untouched = await holdAt(client, NEVER);
    expect(hold.lost.aborted).toBe(false);
    expect(await isRemoved()).toBe(false);
    await expect.poll(() => hold.lost.aborted && untouched.lost.aborted, { timeout: 10_000 }).toBe(true);
    expect(hold.lost.reason).toMatchObject({ code: 'ABORTED', message: expect.stringContaining('its disk is full') as string });
    await expect.poll(() => core.files.exists(core.segmentPath(1_000_000)), { timeout: 10_000 }).toBe(false);
    await hold[Symbol.asyncDispose]();
    await untouched[Symbol.asyncDispose]();
  });

  it('is refused where nobody listens', async () => {
    await api[Symbol.asyncDispose]();
    await expectCode(holdAt(client, NEVER), 'API_UNREACHABLE');
  });
});
