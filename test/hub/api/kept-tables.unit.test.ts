import { afterEach, beforeEach, expect, it } from 'vitest';
import { NEVER } from '../../../contracts/kit/log-engine-kit-common.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import { changelogLines } from '../../../hub/api/changelog/changelog.ts';
import { historyLines, tableLines, type MomentParts } from '../../../hub/api/moments/lines.ts';
import { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { ScratchFolders } from '../../../hub/moments/scratch.ts';
import { FaultyFiles } from '../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../fixtures/runtime.ts';
import { noLock } from '../log/embedded/no-lock.ts';
import { fillPast } from '../moments/past-log.ts';
import { codec, printPosition } from './shop-log.ts';

let engine: EmbeddedLogEngine;
let log: SourceLog;
let parts: MomentParts;

beforeEach(async () => {
  const runtime = createTestRuntime({ files: new FaultyFiles(seededRandom(3)) });
  engine = await EmbeddedLogEngine.create('/data', runtime, { segmentBytes: 512, lock: noLock });
  log = await engine.open('past', { create: true });
  await fillPast(log);
  parts = { log, files: runtime.files, scratch: new ScratchFolders(runtime.files, '/data', 'test'), clock: runtime.clock, codecs: [codec], printPosition, signal: NEVER };
});
afterEach(() => engine[Symbol.asyncDispose]());

async function offsetsOf(lines: AsyncIterable<string>): Promise<number[]> {
  let text = '';
  for await (const piece of lines) text += piece;
  return text.split('\n').flatMap((line) => (line.startsWith('{"offset":') ? (JSON.parse(line) as { offset: number }).offset : []));
}

it('below the horizon there are the records of tables that keep them, and no others', async () => {
  const history = { table: 'public.items', key: ['1'] };
  const before = await offsetsOf(historyLines(parts, history));
  expect(before).toEqual([6, 8, 13, 18]);
  const read = (table: string, from?: number): Promise<number[]> => offsetsOf(changelogLines(log, { table, from, printPosition, signal: NEVER }));
  const all = await read('public.items');
  const words = await read('public.words');
  await log.compact(16, { memoryBytes: 1 << 20, share: 1, keep: ({ name }) => ({ kind: name === 'items' ? 'all' : 'compact' }) }, NEVER);
  const { horizon } = log.state();
  expect(horizon).toBeGreaterThan(12);
  expect(await offsetsOf(historyLines(parts, history))).toEqual(before);
  expect(await read('public.items')).toEqual(all);
  expect(await read('public.items', 8)).toEqual(all.filter((offset) => offset >= 8));
  expect(await read('public.words')).toEqual(words.filter((offset) => offset > horizon));
  // Of several tables everything is told from where it is of each of them.
  expect(await read('public.*')).toEqual([...all, ...words].filter((offset) => offset > horizon).toSorted((a, b) => a - b));
  await expect(read('public.words', 8)).rejects.toMatchObject({ code: 'LOG_BELOW_HORIZON' });
  await expect(offsetsOf(historyLines(parts, { ...history, from: '8' }))).rejects.toMatchObject({ code: 'LOG_BELOW_HORIZON' });
  await expect(offsetsOf(tableLines(parts, { table: 'public.items', asOf: '8' }))).rejects.toMatchObject({ code: 'LOG_BELOW_HORIZON' });
});
