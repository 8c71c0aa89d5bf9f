import { parseArgs } from 'node:util';
import { type DemoSource, SOURCES } from './stand.ts';

export interface DemoOptions {
  /** Of what the shop's database is. Its replica is of the same. */
  readonly source: DemoSource;
  /** How long the shop is in business. */
  readonly seconds: number;
  /** Leave everything running after the verdict, until Ctrl-C. */
  readonly keep: boolean;
  readonly help: boolean;
}

export const USAGE = `npm run demo -- [--source ${SOURCES.join('|')}] [--seconds N] [--keep]

A real Postgres 18 (or MySQL, or MariaDB) with a shop in it, a hub that captures every change, and a replica that it keeps
up to date. At the end every table of both is compared, row by row. Exit code 0: equal; 1: not equal, or something failed.

  --source S    what the shop runs on (default postgres). Of MySQL and MariaDB a server that is installed is taken, or one
                is fetched from Debian; where redis-server is on the PATH, a cache is kept beside the replica
  --seconds N   how long the shop is in business (default 30)
  --keep        leave everything running, to play with, until Ctrl-C
`;

/** @throws Error what is wrong with the arguments */
export function readOptions(args: readonly string[]): DemoOptions {
  const { values } = parseArgs({
    args: [...args],
    options: { source: { type: 'string', default: 'postgres' }, seconds: { type: 'string', default: '30' }, keep: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h', default: false } },
  });
  const source = SOURCES.find((name) => name === values.source);
  if (source === undefined) throw new Error(`--source wants one of ${SOURCES.join(', ')}, not ${values.source}`);
  const seconds = Number(values.seconds);
  if (!Number.isFinite(seconds) || seconds < 1 || seconds > 86_400) throw new Error(`--seconds wants a number from 1 to 86400, not ${values.seconds}`);
  return { source, seconds, keep: values.keep, help: values.help };
}
