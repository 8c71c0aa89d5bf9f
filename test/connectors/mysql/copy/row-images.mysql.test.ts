import { rowImageTests } from './row-images-suite.ts';

rowImageTests('mysql-9', 'few');
