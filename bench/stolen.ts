import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';

/** Ticks of `/proc/stat` in a second: the same on every Linux that Node runs on (proc(5), USER_HZ). */
const TICKS_PER_SECOND = 100;

/** Below this part a note of stolen time says nothing. */
const WORTH_A_NOTE = 0.01;

/**
 * Does the work; says with its result which part of the machine's CPU time (0 to 1) the host of a virtual machine gave to
 * others meanwhile: samples with much of it measure the neighbours. 0 where the kernel does not tell.
 */
export async function withStolen<T>(work: () => Promise<T>): Promise<{ readonly result: T; readonly stolen: number }> {
  const before = await stolenSeconds();
  const begun = performance.now();
  const result = await work();
  const seconds = ((performance.now() - begun) / 1000) * cpus().length;
  return { result, stolen: (await stolenSeconds() - before) / seconds };
}

export function noteOfStolen(stolen: number): string {
  return stolen < WORTH_A_NOTE ? '' : ` (${Math.round(stolen * 100)} % of the machine stolen by its host)`;
}

async function stolenSeconds(): Promise<number> {
  const [all = ''] = (await readFile('/proc/stat', 'utf8')).split('\n', 1);
  return Number(all.split(/ +/)[8] ?? 0) / TICKS_PER_SECOND;
}
