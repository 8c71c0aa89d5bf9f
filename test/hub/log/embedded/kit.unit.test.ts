import { logEngineKit } from '../../../../contracts/kit/log-engine-kit.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { FaultyFiles } from '../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../../fixtures/runtime.ts';
import { temporaryDirectory } from '../../../fixtures/temp.ts';
import { noLock } from './no-lock.ts';

logEngineKit('embedded, on the disk', async () => {
  const directory = await temporaryDirectory('log');
  const runtime = createTestRuntime();
  return {
    open: () => EmbeddedLogEngine.create(directory.path, runtime),
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
});

logEngineKit('embedded, small segments and bounds on a simulated disk', () => {
  const runtime = createTestRuntime({ files: new FaultyFiles(seededRandom(3)) });
  const options = { segmentBytes: 4096, unsyncedBytes: 2048, recentBytes: 1024, lock: noLock };
  return Promise.resolve({
    open: () => EmbeddedLogEngine.create('/data', runtime, options),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
});
