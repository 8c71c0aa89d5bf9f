import { crashCases } from './shadow-crash.ts';

crashCases([['killed before', 9], ['killed after', 8], ['server crash', 11]]);
