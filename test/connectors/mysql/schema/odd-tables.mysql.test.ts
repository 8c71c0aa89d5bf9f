import { oddTablesSuite } from './odd-tables-suite.ts';

for (const version of ['mysql-9', 'mariadb-11.8'] as const) oddTablesSuite(version);
