import { copyTests } from './copy-suite.ts';

for (const version of ['mysql-8.0', 'mysql-9', 'mariadb-11.8'] as const) copyTests(version, 'all');
