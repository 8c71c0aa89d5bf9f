import { randomCases } from './shadow-random.ts';

// In 206162 tables that are not there yet have got other names since.
randomCases({ seeds: [1, 206_162, Date.now() % 1_000_000], batches: 12, rebuilds: 4 });
