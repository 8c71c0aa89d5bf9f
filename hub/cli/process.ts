/** The process of `tidemark`: its signals, streams and exit code. The only place that ends it. */
import type { CliContext } from './context.ts';
import type { Outcome } from './exit.ts';
import { runCommand } from './program.ts';
import { packageVersion } from './version.ts';

/** A drain takes less; whoever sent the signal does not wait longer than ten seconds. */
const DEADLINE_MS = 9500;
/** As shells have it: 128 and the number of SIGINT. */
const INTERRUPTED = 130;

const ending = new AbortController();
const outcome: Outcome = { exitCode: 0 };

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (ending.signal.aborted) process.exit(INTERRUPTED);
    ending.abort(new Error(`${signal} was received`));
    setTimeout(() => {
      process.stderr.write(`Not everything has ended within ${DEADLINE_MS / 1000} s. What is durable is safe.\n`);
      process.exit(1);
    }, DEADLINE_MS).unref();
  });
}

// `tidemark read ... | head` is no fault of anybody's.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

const context: CliContext = {
  stdout: process.stdout,
  stderr: process.stderr,
  stdoutIsTty: process.stdout.isTTY,
  stderrIsTty: process.stderr.isTTY,
  env: process.env,
  cwd: process.cwd(),
  signal: ending.signal,
  outcome,
  registry: async () => (await import('../registry.ts')).registry,
  version: packageVersion(),
  now: () => Date.now(),
};

process.exitCode = await runCommand(process.argv.slice(2), context);
