import { rowImageTests } from './row-images-suite.ts';

rowImageTests('mysql-8.0', 400);
rowImageTests('mysql-9', 400);
