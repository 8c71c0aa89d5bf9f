import { taggedTests } from './gtid-suite.ts';

taggedTests();
