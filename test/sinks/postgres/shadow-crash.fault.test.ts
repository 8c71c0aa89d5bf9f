import { crashCases } from './shadow-crash.ts';

// Every statement has its turn in the long run.
crashCases([['killed before', 9], ['killed after', 8], ['server crash', 24]]);
