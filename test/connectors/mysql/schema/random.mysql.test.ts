import { randomSuite } from './random-suite.ts';

randomSuite('mysql-9', [11], 60);
randomSuite('mariadb-11.8', [2], 60);
