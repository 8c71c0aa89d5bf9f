import type { DirectoryLock } from '../../../../hub/log/embedded/lock.ts';

/** For simulated folders, which no other process can reach. */
export const noLock: DirectoryLock = {
  acquire: () => Promise.resolve({ [Symbol.asyncDispose]: () => Promise.resolve() }),
};
