import { afterAll, beforeAll, describe, test } from 'vitest';
import { sinkKit } from '../../../contracts/kit/sink-kit.ts';
import { type MysqlServer, type MysqlVersion, startMysql } from '../../fixtures/mysql.ts';
import { replicaPlace } from './replica-place.ts';

/** The cases of the sink kit against a server of its own. */
export function sinkKitOn(version: MysqlVersion, load: 'load-data' | 'statements'): void {
  describe(`${version}, rows by ${load}`, () => {
    let server: MysqlServer;
    beforeAll(async () => {
      server = await startMysql({ version, settings: { local_infile: load === 'load-data' } });
    });
    afterAll(() => server?.[Symbol.asyncDispose]());

    const seed = Date.now() % 1_000_000;
    for (const { name, run } of sinkKit({ place: () => replicaPlace(server), keyless: true, reshapes: true, seed, batches: 12 })) {
      test(`${name}${name.startsWith('random') ? ` (seed ${seed})` : ''}`, run);
    }
  });
}
