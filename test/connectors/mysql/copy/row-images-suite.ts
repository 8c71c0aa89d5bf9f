/** Rows of sessions that leave columns out of the binlog, whatever the server's own setting is, through the hub. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seededRandom } from '../../../fixtures/runtime.ts';
import { startMysql, type MysqlServer, type MysqlSession, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../../fixtures/temp.ts';
import { below } from '../../../fault/hard-workload.ts';
import type { Random } from '../../../../contracts/runtime.ts';
import { CopyRig } from './copy-rig.ts';

const COLUMNS = ['id', 'note', 'large', 'n', 'computed', 'doc'];
const TABLE = `CREATE TABLE t (id int PRIMARY KEY, note varchar(40) DEFAULT 'as declared', large longtext, n int NOT NULL DEFAULT 7,
  computed varchar(80) AS (CONCAT(note, '/', n)) STORED, doc json, UNIQUE (n, id))`;
const ROWS = `INSERT INTO t (id, note, large, n, doc) SELECT seq, CONCAT('note ', seq), REPEAT('x', 100), seq, JSON_OBJECT('a', seq, 'list', JSON_ARRAY(1, 2.50, 'three'), 'deep', JSON_OBJECT('b', NULL))
  FROM (WITH RECURSIVE s AS (SELECT 1 AS seq UNION ALL SELECT seq + 1 FROM s WHERE seq < 200) SELECT seq FROM s) AS numbers`;

const IMAGES = ['FULL', 'MINIMAL', 'NOBLOB'] as const;

/** One statement that changes rows, in one of the ways that there are. */
function statement(random: Random): string {
  const id = 1 + below(random, 220);
  const value = `v${below(random, 10_000)}`;
  const all = [
    `UPDATE t SET note = '${value}' WHERE id = ${id}`,
    `UPDATE t SET n = n + 1 WHERE id BETWEEN ${id} AND ${id + 3}`,
    `UPDATE t SET large = REPEAT('${value}', 50) WHERE id = ${id}`,
    `UPDATE t SET large = NULL, note = NULL WHERE id = ${id}`,
    `UPDATE IGNORE t SET id = id + 1000 WHERE id = ${id}`,
    `UPDATE IGNORE t SET id = id - 1000, n = n + 1 WHERE id = ${id + 1000}`,
    `REPLACE INTO t (id, n) VALUES (${id}, ${below(random, 100)})`,
    `REPLACE INTO t (id, note, large) SELECT id, '${value}', large FROM t AS own WHERE id = ${id}`,
    `INSERT INTO t (id, note) VALUES (${id}, '${value}') ON DUPLICATE KEY UPDATE note = VALUES(note)`,
    `INSERT IGNORE INTO t (id, large) VALUES (${id}, '${value}')`,
    `INSERT IGNORE INTO t (id) VALUES (${id}), (${id + 1})`,
    `DELETE FROM t WHERE id = ${id}`,
    `UPDATE t, (SELECT ${id} AS other) AS o SET t.note = '${value}' WHERE t.id = o.other`,
  ];
  return all[below(random, all.length)] as string;
}

/** Between two looks at the log. */
const STATEMENTS = 60;

/** `few`: what says most in little time. */
export function rowImageTests(version: MysqlVersion, extent: 'few' | 'all'): void {
  describe(`row images of sessions of ${version}`, () => {
    let server: MysqlServer;
    let directory: TemporaryDirectory;
    let runs = 0;

    beforeAll(async () => {
      server = await startMysql({ version });
      directory = await temporaryDirectory('row-images');
    });
    afterAll(async () => {
      await server?.[Symbol.asyncDispose]();
      await directory?.[Symbol.asyncDispose]();
    });

    async function fresh(): Promise<string> {
      await server.query(`SET GLOBAL binlog_row_image = FULL, GLOBAL binlog_row_value_options = ''; DROP DATABASE IF EXISTS shop; CREATE DATABASE shop CHARACTER SET utf8mb4`);
      await server.query(`${TABLE}; ${ROWS}`, 'shop');
      return `${directory.path}/${++runs}`;
    }

    async function expectSame(rig: CopyRig): Promise<void> {
      await rig.caughtUp();
      expect(await rig.fold('shop.t')).toEqual(await rig.atServer('t', COLUMNS));
      const controls = (await rig.controls('shop.t')).map(({ type }) => type).filter((type) => type !== 'chunk');
      expect(controls).toEqual(['copying', 'copied']);
    }

    async function change(session: MysqlSession, random: Random): Promise<void> {
      for (let count = 0; count < STATEMENTS; count++) {
        await session.query(statement(random));
        if (count % 9 === 0) await session.query(`BEGIN; ${statement(random)}; ${statement(random)}; ${statement(random)}; COMMIT`);
      }
    }

    it('are made whole in one transaction that is larger than a batch', async () => {
      await using rig = await CopyRig.start(server, await fresh());
      await rig.consistent('shop.t');
      await using session = await server.connect('shop');
      await session.query(`BEGIN; INSERT INTO t (id, large) SELECT id + 5000, REPEAT('y', 20000) FROM t; UPDATE t SET note = 'whole'; SET SESSION binlog_row_image = MINIMAL;
        UPDATE t SET n = n + 1; DELETE FROM t WHERE id % 5 = 0; COMMIT`);
      await expectSame(rig);
    });

    if (extent === 'few') return;

    it('are made whole under a server that writes whole ones: no stop, no other copy, over restarts and without the index too', async () => {
      const seed = Date.now() % 100_000;
      const random = seededRandom(seed);
      const data = await fresh();
      await using session = await server.connect('shop');
      for (const image of [...IMAGES, 'MINIMAL', 'FULL', 'MINIMAL']) {
        {
          await using rig = await CopyRig.start(server, data);
          await rig.consistent('shop.t');
          await session.query(`SET SESSION binlog_row_image = ${image}`);
          await change(session, random);
          await expectSame(rig);
        }
        if (image === 'NOBLOB') await rm(join(data, 'sources', 'shop', 'whole-rows'), { recursive: true });
      }
    });

    it('are made whole when the server itself begins to leave columns out, and stops to', async () => {
      const random = seededRandom(Date.now() % 100_000);
      const data = await fresh();
      for (const image of ['FULL', 'MINIMAL', 'FULL', 'NOBLOB', 'MINIMAL']) {
        await server.query(`SET GLOBAL binlog_row_image = ${image}`);
        await using session = await server.connect('shop');
        await using rig = await CopyRig.start(server, data);
        await rig.consistent('shop.t');
        await change(session, random);
        await expectSame(rig);
      }
    });
  });
}
