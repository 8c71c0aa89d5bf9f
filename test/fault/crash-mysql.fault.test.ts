import { crashTest } from './crash-cycles.ts';

// A few cycles of each; `TIDEMARK_CRASH_SOURCE` and `npm run test:crash` go on for as long as is wanted.
crashTest('mysql', 2);
crashTest('mariadb', 2);
