import { expect, test } from 'vitest';
import type { HubStatus } from '../../hub/service.ts';
import { followPrimary, replicaOf } from '../fixtures/mysql-replica.ts';
import { MysqlStand } from '../fixtures/mysql-stand.ts';
import type { MysqlServer } from '../fixtures/mysql.ts';
import { startTcpProxy } from '../fixtures/tcp-proxy.ts';

const COLUMNS = [{ name: 'id' }, { name: 'v' }];

async function setApplying(replica: MysqlServer, isApplying: boolean): Promise<void> {
  await replica.query(`${isApplying ? 'START' : 'STOP'} ${replica.flavor === 'mysql' ? 'REPLICA' : 'SLAVE'} SQL_THREAD`);
}

/** Two hosts in the source's address, the primary behind a network that can be held. */
async function openPair(version: 'mysql-9' | 'mariadb-11.8') {
  await using opening = new AsyncDisposableStack();
  const network = opening.use(await startTcpProxy(0));
  const standbyNetwork = opening.use(await startTcpProxy(0));
  const stand = opening.use(await MysqlStand.open({
    purpose: 'mysql-failover', version,
    sourceUrl: () => `mysql://root@127.0.0.1:${network.port},127.0.0.1:${standbyNetwork.port}/shop?connect-timeout=2`,
  }));
  network.retarget(stand.source.port);
  await stand.source.query(`CREATE TABLE t (id int PRIMARY KEY, v varchar(40)); INSERT INTO t VALUES (1, 'first')`, 'shop');
  const follower = opening.use(await replicaOf(stand.source));
  await follower.caughtUp();
  standbyNetwork.retarget(follower.server.port);
  await stand.start();
  await stand.caughtUp();
  const opened = opening.move();
  return { stand, network, follower, standby: follower.server, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

const hasError = (code: string) => ({ sources }: HubStatus): boolean => sources[0]?.error?.code === code;

test.each(['mysql-9', 'mariadb-11.8'] as const)('%s: two hosts, a standby that lags, a failover with the old primary dead, its return: nothing is copied again', async (version) => {
  await using pair = await openPair(version);
  const { stand, network, follower, standby } = pair;
  const { source: primary } = stand;
  const mustBeEqualTo = async (server: MysqlServer, rows: number): Promise<void> => {
    const { source, mirror, replica } = await stand.sums('t', COLUMNS, server);
    expect({ mirror, replica }).toEqual({ mirror: source, replica: source });
    expect(source).toContain(`${rows} rows`);
  };
  const write = (server: MysqlServer, id: number): Promise<unknown> => server.query(`INSERT INTO t VALUES (${id}, 'v${id}'); UPDATE t SET v = CONCAT('v', id, ' ${id}')`, 'shop');

  // The primary restarts while its replica lags: it is waited for.
  await setApplying(standby, false);
  await write(primary, 2);
  await stand.caughtUp();
  await primary.stop('kill');
  const { sources } = await stand.hub.until('the standby is found to be behind', hasError('MYSQL_DIVERGED'));
  expect(sources[0]?.state).not.toBe('failed');
  await primary.start();
  await write(primary, 3);
  await stand.caughtUp();
  await mustBeEqualTo(primary, 3);

  // A network that swallows everything: the other host is taken.
  await setApplying(standby, true);
  await follower.caughtUp();
  network.hold('to-client');
  network.cut();
  await stand.hub.kill();
  await stand.start();
  await write(primary, 4);
  await follower.caughtUp();
  await stand.caughtUp();
  await mustBeEqualTo(standby, 4);
  network.resume();

  // The old primary is dead, and stays so for a while.
  await primary.stop('kill');
  await follower.promote();
  await write(standby, 5);
  await stand.caughtUp({ server: standby });
  await mustBeEqualTo(standby, 5);

  // It comes back as the other's replica, behind, and stands first in the address.
  await primary.start();
  const old = await followPrimary(primary, standby);
  await old.caughtUp();
  await setApplying(primary, false);
  await write(standby, 6);
  await stand.caughtUp({ server: standby });
  await stand.hub.kill();
  await stand.start();
  await write(standby, 7);
  await stand.caughtUp({ server: standby });
  await mustBeEqualTo(standby, 7);

  const output = await stand.hub.output();
  expect(output).not.toContain('source.gap');
  expect(output).not.toContain('source.failed');
  expect(output.split('copy.finished')).toHaveLength(2);
});
