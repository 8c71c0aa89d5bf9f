import { MYSQL_VERSIONS } from '../../../fixtures/mysql.ts';
import { randomSuite } from './random-suite.ts';

for (const version of MYSQL_VERSIONS) randomSuite(version, [11, 12, 13, 14, 15, 16], 150);
