import { keyOrderTests } from './key-order-suite.ts';

keyOrderTests(['mysql-8.0', 'mysql-8.0.15', 'mariadb-10.11', 'mariadb-11.4']);
