import { afterAll, beforeAll, describe } from 'vitest';
import { connectorKit } from '../../../contracts/kit/connector-kit.ts';
import { startPostgres, type PostgresMajor, type PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { TestSource } from './source-fixture.ts';

/** The first and the last before the embedded one; `npm run test:versions` runs all. */
const MAJORS: readonly PostgresMajor[] = process.env['TIDEMARK_VERSIONS'] === 'all' ? [13, 14, 15, 16, 17] : [13, 17];

for (const version of MAJORS) {
  describe(`version ${version}`, () => {
    let server: PostgresServer;

    beforeAll(async () => {
      server = await startPostgres({ version });
    });

    afterAll(async () => {
      await server[Symbol.asyncDispose]();
    });

    connectorKit(`Postgres ${version}`, () => TestSource.make(server));
  });
}
