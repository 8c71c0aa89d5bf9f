import { expect, test } from 'vitest';
import { GtidSet } from '../../../connectors/mysql/gtid-set.ts';
import { checkPlace, type ServerIdentity } from '../../../connectors/mysql/identity.ts';
import { parseVersion } from '../../../connectors/mysql/server-version.ts';
import type { Session } from '../../../connectors/mysql/session.ts';
import { isError } from '../../../contracts/kit/sink-kit-stand.ts';

const SERVER = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
const IDENTITY: ServerIdentity = { version: parseVersion('8.0.31'), server: SERVER, serverId: 1, isByGtid: false, settings: new Map() };

test('a place that no dump by file and offset can begin at is refused, and says so', async () => {
  const session = {
    query: () => Promise.resolve([{ Log_name: 'binlog.000003', File_size: '6000000000' }]),
  } as Pick<Session, 'query'> as Session;
  const place = { flavor: 'mysql', server: SERVER, file: 'binlog.000003', isByGtid: false, executed: new GtidSet() } as const;
  await checkPlace(session, IDENTITY, { ...place, offset: 0xffff_ffff });
  await expect(checkPlace(session, IDENTITY, { ...place, offset: 0x1_0000_0000 })).rejects.toSatisfy(isError('MYSQL_DUMP_REFUSED'));
});
