import { createHash } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { mustRun, run, succeeds } from './command.ts';
import { canInstall } from './machine.ts';

/**
 * The images that the container tests start. Where we are root on a Debian they are made of the distribution's own
 * packages, so that no container registry is needed; elsewhere the official images are pulled and given the same names.
 * A name carries a hash of all that goes into the image: it is built once.
 */
export interface TestImages {
  readonly postgres: string;
  readonly redis: string;
}

const recipes = resolve(import.meta.dirname, '../../docker/test-images');
const OFFICIAL = { postgres: 'postgres:18', redis: 'redis:8' } as const;

export async function imageNames(): Promise<TestImages> {
  const hash = createHash('sha256');
  for (const file of (await readdir(recipes)).toSorted()) hash.update(await readFile(join(recipes, file)));
  const tag = hash.digest('hex').slice(0, 12);
  return { postgres: `tidemark-test/postgres:${tag}`, redis: `tidemark-test/redis:${tag}` };
}

export async function provideImages(say: (line: string) => void): Promise<void> {
  const names = await imageNames();
  const missing: (keyof TestImages)[] = [];
  for (const kind of ['postgres', 'redis'] as const) if (!(await hasImage(names[kind]))) missing.push(kind);
  if (missing.length === 0) return;
  const build = await canInstall();
  const base = build ? await baseImage(say) : '';
  for (const kind of missing) {
    const started = performance.now();
    if (build) await buildImage(kind, names[kind], base);
    else await pullImage(kind, names[kind]);
    say(`image ${names[kind]} ${build ? 'built' : 'pulled'} in ${seconds(started)} s`);
  }
}

function hasImage(name: string): Promise<boolean> {
  return succeeds('docker', ['image', 'inspect', name]);
}

async function buildImage(kind: keyof TestImages, name: string, base: string): Promise<void> {
  const file = join(recipes, `${kind}.Dockerfile`);
  await mustRun('docker', ['build', '--network', 'host', '--build-arg', `BASE=${base}`, '-t', name, '-f', file, recipes], {
    // The classic builder is in every engine; the other one is a plug-in that a distribution's client may lack.
    env: { DOCKER_BUILDKIT: '0' },
    timeoutMs: 10 * 60_000,
  });
}

async function pullImage(kind: keyof TestImages, name: string): Promise<void> {
  await mustRun('docker', ['pull', '-q', OFFICIAL[kind]], { timeoutMs: 10 * 60_000 });
  await mustRun('docker', ['tag', OFFICIAL[kind], name]);
}

/** A minimal system of the release that this machine runs, from the mirror that its own package sources name. */
async function baseImage(say: (line: string) => void): Promise<string> {
  const release = await releaseName();
  const name = `tidemark-test/base:${release}`;
  if (await hasImage(name)) return name;
  const started = performance.now();
  const root = await mkdtemp(join(tmpdir(), 'tidemark-base-'));
  try {
    await mustRun('debootstrap', ['--variant=minbase', release, root, await mirror()], { timeoutMs: 10 * 60_000 });
    await mustRun('sh', ['-c', 'tar -C "$1" -c . | docker import - "$2"', 'import', root, name], { timeoutMs: 5 * 60_000 });
  } finally {
    await rm(root, { recursive: true, force: true });
  }
  say(`image ${name} built in ${seconds(started)} s`);
  return name;
}

async function releaseName(): Promise<string> {
  const name = /^VERSION_CODENAME=(.+)$/m.exec(await readFile('/etc/os-release', 'utf8'))?.[1];
  if (name === undefined) throw new Error('/etc/os-release names no release');
  return name.replaceAll('"', '');
}

export async function mirror(): Promise<string> {
  const named = await namedMirror();
  if (named !== null) return named;
  // Before the first update apt lists no targets.
  await mustRun('apt-get', ['update', '-q'], { timeoutMs: 5 * 60_000 });
  const updated = await namedMirror();
  if (updated === null) throw new Error('the package sources of this machine name no mirror of its distribution');
  return updated;
}

async function namedMirror(): Promise<string | null> {
  const { output } = await run('apt-get', ['indextargets', '--format', '$(REPO_URI)', 'Identifier: Packages', 'Component: main']);
  return output.split('\n').map((line) => line.trim()).find((line) => /\/(debian|ubuntu)\/?$/.test(line)) ?? null;
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1);
}
