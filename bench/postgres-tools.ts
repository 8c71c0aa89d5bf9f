import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const DEBIAN_HOME = '/usr/lib/postgresql';

/** Where a client program of Postgres is: where Debian keeps them, the newest first (on its PATH are wrappers), or on the PATH. */
export function postgresTool(name: 'psql' | 'pg_recvlogical'): string {
  const path = [...debianDirectories(), ...(process.env['PATH'] ?? '').split(':')].map((directory) => join(directory, name)).find(existsSync);
  if (path === undefined) throw new Error(`${name} is not installed: on Debian, apt-get install postgresql-client`);
  return path;
}

function debianDirectories(): string[] {
  if (!existsSync(DEBIAN_HOME)) return [];
  const majors = readdirSync(DEBIAN_HOME).toSorted((a, b) => Number(b) - Number(a));
  return majors.map((major) => join(DEBIAN_HOME, major, 'bin'));
}
