import { test } from 'vitest';
import { checkFromPostgres } from './from-postgres.ts';

const MINUTE = 60_000;

test.each(['mysql-9', 'mariadb-11.8'] as const)('values of Postgres at %s: each comes back byte for byte, or is refused', checkFromPostgres, 2 * MINUTE);
