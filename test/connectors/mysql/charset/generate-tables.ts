/** `node test/connectors/mysql/charset/generate-tables.ts`: writes connectors/mysql/charset/tables anew from a real server. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DoubleByteCharset, LAYOUTS } from '../../../../connectors/mysql/charset/double-byte-layout.ts';
import { startMysql } from '../../../fixtures/mysql.ts';
import { connect, disposable } from '../values/capture.ts';
import { conversions, meanings, tabledCharsets } from './server-meanings.ts';
import { type Meanings, rangesFile, singleByteFile, tableFile } from './table-files.ts';

const FOLDER = join(import.meta.dirname, '../../../../connectors/mysql/charset/tables');

await using server = await startMysql({ version: 'mysql-9' });
await using session = disposable(await connect(server));
const singles = new Map<string, Meanings>();
for (const charset of await tabledCharsets(session.connection)) {
  const found = meanings(await conversions(session.connection, charset));
  if (!isDoubleByte(charset)) singles.set(charset, found);
  else {
    await writeFile(join(FOLDER, `${charset}.ts`), tableFile(charset, found));
    if (charset === 'gb18030') await writeFile(join(FOLDER, 'gb18030-runs.ts'), rangesFile(found));
  }
}
await writeFile(join(FOLDER, 'single-byte.ts'), singleByteFile(singles));

function isDoubleByte(charset: string): charset is DoubleByteCharset {
  return Object.hasOwn(LAYOUTS, charset);
}
