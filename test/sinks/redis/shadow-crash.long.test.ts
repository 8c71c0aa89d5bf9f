import { crashCases } from './shadow-crash.ts';

crashCases([['killed before', 1], ['killed after', 1], ['server crash', 2]]);
