import { loadCrashCases } from './load-crash.ts';

// Every statement has its turn in the long run.
loadCrashCases([['killed before', 19], ['killed after', 17], ['server crash', 41]]);
