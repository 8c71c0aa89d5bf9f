import { test } from 'vitest';
import { checkCharsets } from './charset-check.ts';

const MINUTE = 60_000;

test.each(['mysql-8.0', 'mariadb-10.11', 'mariadb-11.4'] as const)(
  'every code of every charset of %s becomes what the server converts it to, and every collation is of the charset that it says',
  checkCharsets,
  5 * MINUTE,
);
