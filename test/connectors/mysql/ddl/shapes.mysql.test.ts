import { shapeSuite } from './shape-suite.ts';

shapeSuite(['mysql-9', 'mariadb-11.8'], [1, 2]);
