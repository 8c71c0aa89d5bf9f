import { defineConfig } from 'vitest/config';

const MINUTE = 60_000;

/**
 * One project per suffix, in this order, one after the other. The suffix names what a test needs: nothing (unit), an
 * embedded Postgres (pg), a redis-server on the PATH (redis), MySQL or MariaDB (mysql), a Docker engine and the test images
 * (docker), the packed and installed package (package). `fault` tests kill, cut and fill up for minutes. `slow` ones take
 * about twenty seconds a file and more, whatever they need: CI runs them, and `npm run test:slow`. `long` ones take many
 * minutes: `npm run test:long` alone runs them.
 */
export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      project('unit', 0, { testTimeout: MINUTE, hookTimeout: MINUTE }),
      project('pg', 1, { testTimeout: MINUTE, hookTimeout: MINUTE }),
      project('redis', 2, { testTimeout: MINUTE, hookTimeout: MINUTE }),
      project('mysql', 3, { testTimeout: MINUTE, hookTimeout: 2 * MINUTE }),
      project('docker', 4, { testTimeout: 5 * MINUTE, hookTimeout: 5 * MINUTE, fileParallelism: false }),
      project('package', 5, { testTimeout: MINUTE, hookTimeout: 5 * MINUTE, fileParallelism: false }),
      project('fault', 6, { testTimeout: 10 * MINUTE, hookTimeout: 2 * MINUTE, fileParallelism: false }),
      project('slow', 7, { testTimeout: 10 * MINUTE, hookTimeout: 2 * MINUTE }),
      project('long', 8, { testTimeout: 90 * MINUTE, hookTimeout: 2 * MINUTE, fileParallelism: false }),
    ],
  },
});

interface Limits {
  readonly testTimeout: number;
  readonly hookTimeout: number;
  readonly fileParallelism?: boolean;
}

function project(name: string, groupOrder: number, limits: Limits) {
  return {
    test: {
      name,
      include: [`test/**/*.${name}.test.ts`],
      sequence: { groupOrder },
      env: { TESTCONTAINERS_RYUK_DISABLED: 'true' },
      // What is waited for is a condition: on a busy machine it takes its time.
      expect: { poll: { timeout: Math.min(limits.testTimeout / 2, MINUTE) } },
      ...limits,
    },
  };
}
