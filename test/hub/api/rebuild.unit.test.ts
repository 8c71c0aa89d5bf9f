import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ApiClient } from '../../../hub/api/client.ts';
import { startApi, type Api } from '../../../hub/api/server.ts';
import type { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { ScratchFolders } from '../../../hub/moments/scratch.ts';
import { createMetrics } from '../../../hub/runtime/metrics.ts';
import type { RebuildView } from '../../../hub/service.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { tidemark } from '../cli/run-cli.ts';
import { REBUILD as VIEW, ScriptedService, SINK, STATUS } from './scripted-service.ts';
import { codec, openEngine, printPosition } from './shop-log.ts';

const SIGNAL = new AbortController().signal;

let folder: TemporaryDirectory;
let engine: EmbeddedLogEngine;
let service: ScriptedService;
let api: Api;
let client: ApiClient;

beforeAll(async () => {
  folder = await temporaryDirectory('api-rebuild');
  engine = await openEngine(folder.path, createTestRuntime());
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});
beforeEach(async () => {
  service = new ScriptedService();
  const { clock, files, logger } = createTestRuntime();
  api = await startApi({
    service, log: engine, metrics: createMetrics(), data: folder.path, http: null, printPosition, codecs: [codec],
    scratch: new ScratchFolders(files, folder.path, 'test'), clock, files, logger, reload: () => Promise.resolve([]),
  });
  client = new ApiClient({ socket: api.socket });
});
afterEach(() => api[Symbol.asyncDispose]());

function showing(...views: (RebuildView | null)[]): void {
  let at = 0;
  service.status = () => {
    const rebuild = views[Math.min(at++, views.length - 1)] ?? null;
    return Promise.resolve({ ...STATUS, sinks: [{ ...SINK, rebuild }] });
  };
}

function run(...args: string[]) {
  return tidemark([...args, '--data', folder.path], { cwd: folder.path });
}

describe('rebuilds over the API', () => {
  it('are asked for, refused with findings, cancelled', async () => {
    expect(await client.rebuild('replica', { tables: ['public.a'], to: null, fromScratch: true }, SIGNAL)).toEqual({ id: 'r1', to: null, findings: [] });
    expect(service.asked).toEqual(['rebuild replica', 'public.a, here, from scratch']);
    const findings = [{ severity: 'error', code: 'view', what: 'a view', remedy: 'DROP VIEW v', table: 'public.a' }] as const;
    service.rebuild = { id: null, to: 7, findings };
    expect(await client.rebuild('replica', { tables: null, to: '-2h', fromScratch: false }, SIGNAL)).toEqual({ id: null, to: 7, findings });
    expect(service.asked.at(-1)).toBe('all, -2h, on');
    expect(await client.cancelRebuild('replica', SIGNAL)).toEqual(['cancelled']);
    await expect(client.rebuild('nobody', { tables: null, to: null, fromScratch: false }, SIGNAL)).rejects.toMatchObject({ code: 'SINK_UNKNOWN' });
    await expect(client.cancelRebuild('nobody', SIGNAL)).rejects.toMatchObject({ code: 'SINK_UNKNOWN' });
  });

  it('stand in the status, in the health and in the metrics', async () => {
    const error = { code: 'REBUILD_IN_THE_WAY', message: 'a view', remedy: 'Drop it.', at: '2026-11-21T13:00:00.000Z', where: { table: 'public.a' } };
    showing({ ...VIEW, state: 'failed', error });
    expect((await client.status(SIGNAL)).sinks[0]?.rebuild).toMatchObject({ state: 'failed', error });
    expect(await client.health(SIGNAL)).toMatchObject({ status: 'degraded', troubles: ['rebuild of sink replica: failed'] });
    const metrics = await client.metrics(SIGNAL);
    expect(metrics).toContain('tidemark_rebuild_state{sink="replica",state="failed"} 1');
    expect(metrics).toContain('tidemark_rebuild_part{sink="replica",phase="loading"} 0.25');
    expect(metrics).toContain('tidemark_sink_paused{sink="replica"} 0');
  });
});

describe('tidemark rebuild', () => {
  it('follows a rebuild to its end', async () => {
    // The first is for the look whether the hub is there.
    showing(VIEW, VIEW, { ...VIEW, phase: 'swapping', what: '' }, { ...VIEW, state: 'done', endedAt: 'x', offset: 17 });
    expect(await run('rebuild', 'replica')).toEqual({ code: 0, stdout: 'sink replica was rebuilt at offset 17\n', stderr: 'loading public.orders\nswapping\n' });
    showing({ ...VIEW, state: 'done', endedAt: 'x', offset: 17, to: 17 });
    const pinned = await run('rebuild', 'replica', '--to', '17');
    expect(pinned.stdout).toBe('sink replica was rebuilt at offset 17, and paused there: `tidemark sink resume replica` goes on\n');
    expect(service.asked.at(-1)).toBe('all, 17, on');
  });

  it('ends with 1 when the rebuild fails or is cancelled', async () => {
    const error = { code: 'REBUILD_IN_THE_WAY', message: 'a view is in the way', remedy: 'Drop it.', at: 'x', where: { table: 'public.a' } };
    showing({ ...VIEW, state: 'failed', error });
    expect(await run('rebuild', 'replica')).toEqual({ code: 1, stdout: '', stderr: 'REBUILD_IN_THE_WAY: a view is in the way\n  where: table public.a\n  to do: Drop it.\n' });
    showing({ ...VIEW, state: 'cancelled', endedAt: 'x', why: 'the configuration of the sink has changed' });
    expect(await run('rebuild', 'replica')).toMatchObject({ code: 1, stdout: 'the rebuild of sink replica was cancelled: the configuration of the sink has changed\n' });
  });

  it('prints what stands in the way as check does, and does not begin', async () => {
    service.rebuild = { id: null, to: null, findings: [{ severity: 'error', code: 'view', what: 'a view depends on it', remedy: 'DROP VIEW v', table: 'public.a' }] };
    const { code, stdout, stderr } = await run('rebuild', 'replica', '--tables', 'public.a', 'public.b');
    expect(code).toBe(1);
    expect(stdout).toBe('sink replica (postgres)\n  error    public.a: a view depends on it\n           DROP VIEW v\n');
    expect(stderr).toBe('the rebuild of sink replica was not begun: mend what is named as an error first\n');
    expect(service.asked.at(-1)).toBe('public.a public.b, here, on');
    const json = await run('rebuild', 'replica', '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({ part: 'sink', name: 'replica', code: 'view', table: 'public.a' });
  });

  it('leaves it running when it is detached or interrupted, and says how to end it', async () => {
    showing(VIEW);
    const how = '`tidemark status` shows how far it is, `tidemark rebuild replica --cancel` ends it\n';
    expect(await run('rebuild', 'replica', '--detach')).toEqual({ code: 0, stdout: `sink replica is being rebuilt: ${how}`, stderr: '' });
    const interrupted = await tidemark(['rebuild', 'replica', '--data', folder.path], { cwd: folder.path, signal: AbortSignal.timeout(300) });
    expect(interrupted).toMatchObject({ code: 1, stderr: `loading public.orders\nthe rebuild of sink replica goes on: ${how}` });
    expect(await run('rebuild', 'replica', '--cancel')).toEqual({ code: 0, stdout: 'cancelled\n', stderr: '' });
  });

  it('refuses what does not go together', async () => {
    expect(await run('rebuild', 'replica', '--cancel', '--to', '5')).toMatchObject({ code: 2, stderr: expect.stringContaining('USAGE: --cancel stands alone') as string });
    expect(await run('rebuild', 'replica', '--to', '5', '--tables', 'public.a')).toMatchObject({ code: 2 });
    expect(service.asked).toEqual([]);
  });

  it('is shown by status while it goes on, and why a sink rests', async () => {
    showing(VIEW);
    const { stdout } = await run('status');
    expect(stdout).toContain('REBUILD OF  OF WHAT     PROGRESS\nreplica     all tables  loading public.orders  █████░░░░░░░░░░░░░░░ 25%  250,000 rows  50,000/s  1 m 30 s left\n');
    service.status = () => Promise.resolve({ ...STATUS, sinks: [{ ...SINK, state: 'paused', pause: { by: 'rebuild', offset: 10, at: 'x' } }] });
    expect((await run('status')).stdout).toMatch(/replica +shop +paused at offset 10 by a rebuild +10/);
  });
});
