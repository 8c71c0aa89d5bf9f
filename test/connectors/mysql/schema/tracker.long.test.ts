import { MYSQL_VERSIONS } from '../../../fixtures/mysql.ts';
import { oddTablesSuite } from './odd-tables-suite.ts';
import { trackerSuite } from './tracker-suite.ts';

// The others run with the tests of every day.
for (const version of MYSQL_VERSIONS) {
  if (version === 'mysql-9' || version === 'mariadb-11.8') continue;
  trackerSuite(version);
  oddTablesSuite(version);
}
