import { rowImageTests } from './row-images-suite.ts';

rowImageTests('mysql-8.0', 'parts');
