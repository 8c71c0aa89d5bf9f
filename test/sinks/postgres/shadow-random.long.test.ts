import { randomCases } from './shadow-random.ts';

const first = Date.now() % 1_000_000;

randomCases({ seeds: Array.from({ length: 30 }, (_, n) => first + n), batches: 24, rebuilds: 12 });
