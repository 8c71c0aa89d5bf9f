import { test } from 'vitest';
import { checkFromMysql, JSON_DECIMALS, LATE_TIMESTAMPS } from './from-mysql.ts';

const MINUTE = 60_000;

test(
  'values of MySQL 9 at MySQL and MariaDB: each comes back byte for byte, or is refused',
  () => checkFromMysql('mysql-9', ['mysql-9', 'mariadb-11.8'], (to) => (to === 'mysql-9' ? JSON_DECIMALS : ['vector(3) [1e-05,1e+20,3.4e+38]'])),
  5 * MINUTE,
);

test(
  'values of MariaDB at MariaDB and MySQL: each comes back byte for byte, or is refused',
  () => checkFromMysql('mariadb-11.8', ['mariadb-11.8', 'mysql-9'], (to) => (to === 'mysql-9' ? LATE_TIMESTAMPS : [])),
  5 * MINUTE,
);
