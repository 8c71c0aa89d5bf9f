/** Values across databases on the servers that the ordinary tests leave out. */
import { describe, test } from 'vitest';
import { MYSQL_VERSIONS } from '../../../fixtures/mysql.ts';
import { checkFromMysql, JSON_DECIMALS, LATE_TIMESTAMPS } from './from-mysql.ts';
import { checkFromPostgres } from './from-postgres.ts';

const MINUTE = 60_000;

describe('other servers', () => {
  test.each(MYSQL_VERSIONS.filter((version) => version !== 'mysql-9' && version !== 'mariadb-11.8'))('values of Postgres at %s', checkFromPostgres, 10 * MINUTE);

  test(
    'values of MySQL 9 at the others',
    () => checkFromMysql('mysql-9', ['mysql-8.0.15', 'mysql-8.0', 'mariadb-10.11', 'mariadb-11.4'], (to) => (to.startsWith('mysql') ? JSON_DECIMALS : [])),
    20 * MINUTE,
  );

  test(
    'values of MariaDB at the others',
    () => checkFromMysql('mariadb-11.8', ['mysql-8.0.15', 'mysql-8.0', 'mariadb-10.11', 'mariadb-11.4'], () => LATE_TIMESTAMPS),
    20 * MINUTE,
  );
});
