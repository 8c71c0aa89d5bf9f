import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mustRun } from '../command.ts';
import { mirror } from '../images.ts';
import type { DebianSuite } from './versions.ts';

const LIMIT_MS = 10 * 60_000;

/**
 * Unpacks packages of a Debian release into `folder`, which exists, with all that they depend on; nothing is installed.
 * apt-get takes them from the mirror of this machine's own package sources and checks them against Debian's keys.
 */
export async function unpackPackages(suite: DebianSuite, packages: readonly string[], folder: string): Promise<void> {
  const state = await mkdtemp(join(tmpdir(), `tidemark-apt-${suite}-`));
  try {
    const apt = await isolatedApt(suite, state);
    await mustRun('apt-get', [...apt, 'update', '-q'], { timeoutMs: LIMIT_MS });
    await mustRun('apt-get', [...apt, 'install', '-q', '-y', '--download-only', ...packages], { timeoutMs: LIMIT_MS });
    await unpackAll(join(state, 'archives'), folder);
  } finally {
    await rm(state, { recursive: true, force: true });
  }
}

/** Arguments by which apt-get keeps its state in a folder of its own and takes no package for installed. */
async function isolatedApt(suite: DebianSuite, state: string): Promise<string[]> {
  const address = await mirror();
  if (!/\/debian\/?$/.test(address)) throw new Error(`the servers of the tests come from Debian ${suite}, and the package sources of this machine name no Debian`);
  for (const folder of ['lists/partial', 'archives/partial', 'none']) await mkdir(join(state, folder), { recursive: true });
  await writeFile(join(state, 'sources'), `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${address} ${suite} main\n`);
  await writeFile(join(state, 'status'), '');
  const settings = {
    'Dir::Etc::sourcelist': join(state, 'sources'),
    'Dir::Etc::sourceparts': join(state, 'none'),
    'Dir::Etc::preferences': join(state, 'none.pref'),
    'Dir::Etc::preferencesparts': join(state, 'none'),
    'Dir::State': state,
    'Dir::State::status': join(state, 'status'),
    'Dir::State::lists': join(state, 'lists'),
    'Dir::Cache': state,
    'Dir::Cache::archives': join(state, 'archives'),
    'APT::Install-Recommends': 'false',
    'APT::Sandbox::User': '',
    'Acquire::Check-Valid-Until': 'false',
    'Acquire::Languages': 'none',
    'Debug::NoLocking': 'true',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

async function unpackAll(archives: string, folder: string): Promise<void> {
  const names = (await readdir(archives)).filter((name) => name.endsWith('.deb'));
  if (names.length === 0) throw new Error(`apt-get has put no package into ${archives}`);
  for (const name of names) await mustRun('dpkg-deb', ['--extract', join(archives, name), folder], { timeoutMs: LIMIT_MS });
}
