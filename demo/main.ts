import { describeError } from '../contracts/errors/error.ts';
import { runDemo } from './demo.ts';
import { type DemoOptions, USAGE, readOptions } from './options.ts';
import { Screen } from './screen.ts';

const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const;

async function main(): Promise<number> {
  let options: DemoOptions;
  try {
    options = readOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${describeError(error)}\n\n${USAGE}`);
    return EXIT.usage;
  }
  if (options.help) {
    process.stdout.write(USAGE);
    return EXIT.ok;
  }
  const interrupted = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupted.abort());
  const screen = new Screen(process.stdout);
  // What was started is ended in reverse order, whatever happens.
  await using stack = new AsyncDisposableStack();
  try {
    const equal = await runDemo(options, screen, stack, interrupted.signal);
    return equal ? EXIT.ok : EXIT.failed;
  } catch (error) {
    if (interrupted.signal.aborted) {
      screen.step('Interrupted: cleaning up');
      return EXIT.interrupted;
    }
    screen.step(`The demo failed: ${describeError(error)}`);
    return EXIT.failed;
  }
}

process.exitCode = await main();
