import { copyTests } from './copy-suite.ts';

copyTests('mysql-9', 'few');
copyTests('mariadb-11.8', 'few');
