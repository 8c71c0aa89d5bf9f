import { shapeSuite } from './shape-suite.ts';

shapeSuite(['mysql-8.0.15', 'mysql-8.0', 'mysql-9', 'mariadb-10.11', 'mariadb-11.4', 'mariadb-11.8'], [3, 4, 5, 6, 7, 8]);
