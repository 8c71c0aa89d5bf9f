import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { mustRun, run, succeeds } from './command.ts';

/** What the tests need of the machine besides Node, and how it gets there. */

interface Need {
  /** A command that succeeds when it is there. */
  readonly probe: readonly [command: string, ...args: string[]];
  readonly debianPackage: string;
  readonly why: string;
}

const NEEDS: readonly Need[] = [
  { probe: ['redis-server', '--version'], debianPackage: 'redis-server', why: 'the tests of the Redis sink' },
  { probe: ['openssl', 'version'], debianPackage: 'openssl', why: 'the tests of TLS' },
  { probe: ['dockerd', '--version'], debianPackage: 'docker.io', why: 'the tests in containers' },
  { probe: ['docker', '--version'], debianPackage: 'docker.io', why: 'the tests in containers' },
  { probe: ['mvn', '--version'], debianPackage: 'maven', why: 'the MySQL and MariaDB servers of the tests' },
  { probe: ['unzip', '-v'], debianPackage: 'unzip', why: 'the MySQL and MariaDB servers of the tests' },
  { probe: ['debootstrap', '--version'], debianPackage: 'debootstrap', why: 'the images of those containers' },
];

const ENGINE_START_LIMIT_MS = 60_000;
const ENGINE_LOG = '/var/log/tidemark-test-dockerd.log';

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** True where missing things can be installed by ourselves: as root, with apt-get. */
export async function canInstall(): Promise<boolean> {
  return isRoot() && (await succeeds('apt-get', ['--version']));
}

/** Installs what is missing, or throws with the exact list. */
export async function providePackages(say: (line: string) => void): Promise<void> {
  const engineAnswers = await engineRuns();
  const missing: Need[] = [];
  for (const need of NEEDS) {
    // Whoever can reach an engine needs neither its daemon nor, not being root, what builds images from scratch.
    if (engineAnswers && need.probe[0] === 'dockerd') continue;
    if (need.debianPackage === 'debootstrap' && !(await canInstall())) continue;
    const [command, ...args] = need.probe;
    if (!(await succeeds(command, args))) missing.push(need);
  }
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((need) => need.debianPackage))];
  if (!(await canInstall())) {
    throw new Error(installRemedy(missing));
  }
  say(`installing ${packages.join(', ')}`);
  await mustRun('apt-get', ['update', '-q'], { timeoutMs: 5 * 60_000 });
  await mustRun('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...packages], {
    env: { DEBIAN_FRONTEND: 'noninteractive' },
    timeoutMs: 10 * 60_000,
  });
}

/** What somebody who may not install has to do. */
function installRemedy(missing: readonly Need[]): string {
  const lines = missing.map((need) => `  ${need.probe[0]} (Debian package ${need.debianPackage}), for ${need.why}`);
  const packages = [...new Set(missing.map((need) => need.debianPackage))].join(' ');
  return `these are missing:\n${lines.join('\n')}\nPlease run, then npm test again:\n  sudo apt-get install -y ${packages}\nnpm run test:unit needs none of them`;
}

export function engineRuns(): Promise<boolean> {
  return succeeds('docker', ['info']);
}

/** What an ordinary user has to do, by what `docker info` has printed. */
export function engineRemedy(output: string): string {
  const [what, command] = /permission denied/i.test(output)
    ? ['you may not use the Docker engine', 'sudo usermod -aG docker "$USER"   # then log in anew']
    : ['no Docker engine answers', 'sudo systemctl start docker'];
  return `${what}. Please run, then npm test again:\n  ${command}\nnpm run test:unit needs no engine`;
}

/** Starts the Docker engine when none answers and we may. It is left running: other runs use it too. */
export async function provideEngine(say: (line: string) => void): Promise<void> {
  if (await engineRuns()) return;
  if (!isRoot()) throw new Error(engineRemedy((await run('docker', ['info'])).output));
  say('starting dockerd');
  const log = await open(ENGINE_LOG, 'a');
  const daemon = spawn('dockerd', [], { detached: true, stdio: ['ignore', log.fd, log.fd] });
  let failure = '';
  daemon.once('error', (error) => (failure = error.message));
  daemon.once('exit', (status) => (failure = `dockerd ended with ${status}`));
  const limit = performance.now() + ENGINE_START_LIMIT_MS;
  while (!(await engineRuns())) {
    if (failure !== '' || performance.now() > limit) throw new Error(`the Docker engine does not start (${failure}); see ${ENGINE_LOG}`);
    await delay(300);
  }
  daemon.unref();
  await log.close();
}
