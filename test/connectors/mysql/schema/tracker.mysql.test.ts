import { trackerSuite } from './tracker-suite.ts';

for (const version of ['mysql-9', 'mariadb-11.8'] as const) trackerSuite(version);
