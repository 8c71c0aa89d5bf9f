import { keyOrderTests } from './key-order-suite.ts';

keyOrderTests(['mysql-9', 'mariadb-11.8']);
