/** `node test/connectors/mysql/values/generate-golden.ts`: writes the recorded values anew from real servers. */
import { writeFile } from 'node:fs/promises';
import { startMysql } from '../../../fixtures/mysql.ts';
import { captureValues } from './capture.ts';
import { decoded } from './cells.ts';
import { GOLDEN_VERSIONS, goldenFile, packGolden } from './golden-values.ts';

for (const version of GOLDEN_VERSIONS) {
  await using server = await startMysql({ version });
  await writeFile(goldenFile(version), packGolden(await captureValues(server), (column, binlog) => decoded(column.wire, column.type, binlog)));
}
