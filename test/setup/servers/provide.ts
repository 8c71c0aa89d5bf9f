import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun } from '../command.ts';
import { unpackPackages } from './debian.ts';
import { unpackArtifact } from './maven.ts';
import { type DebianSuite, MYSQL_VERSIONS, type MavenArtifact, type MysqlVersion, PACKAGES, SOURCES } from './versions.ts';

export interface ServerFiles {
  /** Of this version alone; holds nothing but what its users put there. */
  readonly home: string;
  /** Holds the system that the server's libraries come from. */
  readonly system: string;
  /** What the server calls its base directory. */
  readonly base: string;
}

/** The files of a server, fetched when they are not there. */
export async function provideServer(version: MysqlVersion): Promise<ServerFiles> {
  const { suite, artifact } = SOURCES[version];
  const system = await provideSystem(suite);
  if (artifact === null) return { home: join(system, version), system, base: join(system, 'usr') };
  const base = await provideArtifact(version, artifact);
  return { home: base, system, base };
}

/** True when the server has been fetched before. */
export function isProvided(version: MysqlVersion): boolean {
  const { suite, artifact } = SOURCES[version];
  return existsSync(folderOf(systemName(suite))) && (artifact === null || existsSync(folderOf(artifactName(version, artifact))));
}

export async function provideServers(say: (line: string) => void): Promise<void> {
  for (const version of MYSQL_VERSIONS) {
    const started = performance.now();
    await provideServer(version);
    const seconds = (performance.now() - started) / 1000;
    if (seconds > 1) say(`${version} fetched in ${seconds.toFixed(1)} s`);
  }
  await provideSysbench();
}

/** The release's loader, C library, servers and clients. */
export function provideSystem(suite: DebianSuite): Promise<string> {
  return providePackages(suite, PACKAGES[suite]);
}

const SYSBENCH = { suite: 'bookworm', packages: ['sysbench'] } as const;

/** sysbench with the loader and the libraries that it wants. */
export function provideSysbench(): Promise<string> {
  return providePackages(SYSBENCH.suite, SYSBENCH.packages);
}

function providePackages(suite: DebianSuite, packages: readonly string[]): Promise<string> {
  return provideFolder(packagesName(suite, packages), async (folder) => {
    await unpackPackages(suite, packages, folder);
  });
}

function systemName(suite: DebianSuite): string {
  return packagesName(suite, PACKAGES[suite]);
}

function packagesName(suite: DebianSuite, packages: readonly string[]): string {
  return `debian-${suite}-${hashOf(packages.join(' '))}`;
}

function artifactName(version: MysqlVersion, artifact: MavenArtifact): string {
  return `${version}-${artifact.sha256.slice(0, 12)}`;
}

function provideArtifact(version: MysqlVersion, artifact: MavenArtifact): Promise<string> {
  return provideFolder(artifactName(version, artifact), async (folder) => {
    const jar = `${folder}.jar`;
    await mkdir(jar);
    try {
      await unpackArtifact(artifact, jar);
      const content = join(jar, artifact.content);
      if ((await stat(content)).isDirectory()) await mustRun('cp', ['--recursive', `${content}/.`, folder]);
      else await mustRun('tar', ['--extract', '--no-same-owner', `--file=${content}`, `--directory=${folder}`]);
    } finally {
      await rm(jar, { recursive: true, force: true });
    }
  });
}

/** Not in the temporary directory of the environment: that may be the private one of the present user. */
export function folderOf(name: string): string {
  return `/tmp/tidemark-${name}-${process.getuid?.() ?? 0}`;
}

/** Filled aside and renamed, so that it is complete if it exists, whoever else fills it at the same time. */
async function provideFolder(name: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const home = folderOf(name);
  if (existsSync(home)) return home;
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(`the tests have MySQL and MariaDB for linux-x64 only, this is ${process.platform}-${process.arch}`);
  }
  const aside = `${home}.${randomBytes(4).toString('hex')}`;
  await mkdir(aside);
  try {
    await fill(aside);
    await chmod(aside, 0o755);
    await rename(aside, home).catch((error: unknown) => {
      if (!existsSync(home)) throw error;
    });
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
  return home;
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
