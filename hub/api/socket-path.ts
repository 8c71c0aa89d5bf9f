/**
 * Where the API's unix socket is: `hub.sock` in the data folder. Operating systems take paths of about 107 bytes (103
 * on some): for a longer one a private folder under the system's temporary one is used, and `hub.sock.path` in the data
 * folder names the socket.
 */
import { chmod, lstat, mkdtemp, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const LONGEST = 100;
const RECORD = 'hub.sock.path';

/** The path to connect to, whether or not somebody listens there. */
export async function findSocket(data: string): Promise<string> {
  const direct = join(data, 'hub.sock');
  if (fits(direct)) return direct;
  return (await recorded(data)) ?? direct;
}

/** The path to listen on. What stood there before, left by a hub that was killed, is gone. */
export async function claimSocket(data: string): Promise<string> {
  const direct = join(data, 'hub.sock');
  if (fits(direct)) {
    await rm(direct, { force: true });
    return direct;
  }
  const before = await recorded(data);
  if (before !== null && (await isOurs(dirname(before)))) {
    await rm(before, { force: true });
    return before;
  }
  const root = fits(join(tmpdir(), 'tidemark-XXXXXX', 'hub.sock')) ? tmpdir() : '/tmp';
  const folder = await mkdtemp(join(root, 'tidemark-'));
  await chmod(folder, 0o700);
  const path = join(folder, 'hub.sock');
  await writeFile(join(data, RECORD), `${path}\n`, { mode: 0o600 });
  return path;
}

/** Removes what `claimSocket` made; the socket itself is removed by the server that listened on it. */
export async function releaseSocket(data: string, path: string): Promise<void> {
  await rm(path, { force: true });
  if (dirname(path) === data) return;
  await rm(join(data, RECORD), { force: true });
  await rmdir(dirname(path));
}

function fits(path: string): boolean {
  return Buffer.byteLength(path) <= LONGEST;
}

async function recorded(data: string): Promise<string | null> {
  try {
    const path = (await readFile(join(data, RECORD), 'utf8')).trim();
    return path === '' ? null : path;
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** A folder that nobody else can have put there. */
async function isOurs(folder: string): Promise<boolean> {
  try {
    const stat = await lstat(folder);
    return stat.isDirectory() && stat.uid === process.getuid?.() && (stat.mode & 0o077) === 0;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
