import { loadCrashCases } from './load-crash.ts';

loadCrashCases([['killed before', 1], ['killed after', 1], ['server crash', 3]]);
