import { crashCases } from './shadow-crash.ts';

// Every statement has its turn in the long run.
crashCases([['killed before', 15], ['killed after', 13], ['server crash', 35]]);
