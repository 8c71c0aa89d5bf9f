import { createHash } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun } from '../command.ts';
import type { MavenArtifact } from './versions.ts';

const PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';
const LIMIT_MS = 10 * 60_000;

/** Puts the jar into `folder`, which is empty, with its content unpacked beside it. Rejects a jar of another hash. */
export async function unpackArtifact(artifact: MavenArtifact, folder: string): Promise<void> {
  const where = [`-Dartifact=${artifact.coordinates}`, `-DoutputDirectory=${folder}`];
  await mustRun('mvn', ['-q', '-B', '-ntp', `${PLUGIN}:copy`, ...where], { cwd: folder, timeoutMs: LIMIT_MS });
  const jar = (await readdir(folder)).find((name) => name.endsWith('.jar'));
  if (jar === undefined) throw new Error(`mvn has put no jar of ${artifact.coordinates} into ${folder}`);
  const found = createHash('sha256').update(await readFile(join(folder, jar))).digest('hex');
  if (found !== artifact.sha256) throw new Error(`the jar of ${artifact.coordinates} has the SHA-256 ${found}, not ${artifact.sha256}`);
  await mustRun('unzip', ['-q', '-o', join(folder, jar), '-d', folder], { timeoutMs: LIMIT_MS });
}
