import type pg from 'pg';
import { CANONICAL_SETTINGS } from '../../../contracts/types/postgres-session.ts';

/** The session prints values as the log has them. */
export async function sameAsServer(session: pg.Client): Promise<void> {
  for (const [name, value] of CANONICAL_SETTINGS) {
    if (name !== 'search_path') await session.query('SELECT set_config($1, $2, false)', [name, value]);
  }
}

export function quotedName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
