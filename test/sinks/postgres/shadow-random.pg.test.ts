import { randomCases } from './shadow-random.ts';

randomCases({ seeds: [1, Date.now() % 1_000_000], batches: 12, rebuilds: 4 });
