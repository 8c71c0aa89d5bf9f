import { test } from 'vitest';
import { checkValues } from './values-check.ts';

const MINUTE = 60_000;

test.each(['mysql-8.0', 'mariadb-10.11', 'mariadb-11.4'] as const)(
  'each edge value of each type of %s has the same cell in the binary log, in a copy and, where it is text, at the server',
  checkValues,
  5 * MINUTE,
);
