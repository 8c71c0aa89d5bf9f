import { provideImages } from './images.ts';
import { provideEngine, providePackages } from './machine.ts';
import { provideServers } from './servers/provide.ts';

/** Makes sure that the machine has what `npm test` needs. Does nothing, in about a second, when it has. */
const say = (line: string): void => void process.stderr.write(`prepare: ${line}\n`);

try {
  await providePackages(say);
  await provideEngine(say);
  await provideImages(say);
  await provideServers(say);
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
