import { join } from 'node:path';
import { expect, it } from 'vitest';
import { PauseFile, type Pause } from '../../../../hub/pipeline/sink/pause-file.ts';
import { nodeFiles } from '../../../../hub/runtime/node-files.ts';
import { temporaryDirectory } from '../../../fixtures/temp.ts';

const PAUSE: Pause = { by: 'operator', offset: 7, at: '2026-11-21T12:00:00.000Z' };

it('a resume that could not be noted is not taken for one that was', async () => {
  await using folder = await temporaryDirectory('pause-file');
  const path = join(folder.path, 'pause.json');
  let isFull = false;
  const files: typeof nodeFiles = {
    ...nodeFiles,
    replace: (to, bytes) => (isFull ? Promise.reject(new Error('the disk is full')) : nodeFiles.replace(to, bytes)),
  };
  const pauses = await PauseFile.load(files, path);
  expect(pauses.isSaved).toBe(true);
  await pauses.set(PAUSE);
  isFull = true;
  await expect(pauses.set(null)).rejects.toThrow('the disk is full');
  expect(pauses.pause).toBeNull();
  expect(pauses.isSaved).toBe(false);
  expect((await PauseFile.load(nodeFiles, path)).pause).toEqual(PAUSE);
  isFull = false;
  await pauses.set(null);
  expect(pauses.isSaved).toBe(true);
  expect((await PauseFile.load(nodeFiles, path)).pause).toBeNull();
});
