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
const ROWS = `INSERT INTO t (id, note, large, n, doc) SELECT seq, CONCAT('note ', seq), REPEAT('x', 100), seq, JSON_OBJECT('a', seq, 'list', JSON_ARRAY(1, 2.50, 'three'), 'deep', JSON_OBJECT('b', NULL), 'pad', REPEAT('p', 200))
  FROM (WITH RECURSIVE s AS (SELECT 1 AS seq UNION ALL SELECT seq + 1 FROM s WHERE seq < 200) SELECT seq FROM s) AS numbers`;

const IMAGES = ['FULL', 'MINIMAL', 'NOBLOB'] as const;

/** What a session sends, for an image of rows and, with `+json`, parts of JSON values. */
function settings(image: string): string {
  const [name = '', json] = image.split('+');
  return `SET SESSION binlog_row_image = ${name}, SESSION binlog_row_value_options = '${json === undefined ? '' : 'PARTIAL_JSON'}'`;
}

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
    `UPDATE t SET doc = JSON_SET(doc, '$.a', ${below(random, 10_000)}) WHERE id BETWEEN ${id} AND ${id + 3}`,
    `UPDATE t SET doc = JSON_SET(doc, '$.deep.b', '${value}', '$.${value}', CAST('[1.10, {"é\\\\n": true}]' AS json)), n = n + 1 WHERE id = ${id}`,
    `UPDATE t SET doc = JSON_REPLACE(doc, '$.list[last]', JSON_OBJECT('in', ${id}), '$.a', 1.5) WHERE id = ${id}`,
    `UPDATE t SET doc = JSON_SET(doc, '$.list[9]', ${id}, '$."a \\\\"key\\\\""', DATE '2026-01-02') WHERE id = ${id}`,
    `UPDATE t SET doc = JSON_REMOVE(doc, '$.list[0]'), note = '${value}' WHERE id = ${id}`,
    `UPDATE t SET doc = JSON_REMOVE(JSON_SET(doc, '$.list[0]', '${value}', '$.new', 1), '$.deep.b') WHERE id = ${id}`,
    `UPDATE t SET doc = JSON_OBJECT('a', ${id}, 'list', JSON_ARRAY(${id}, 2), 'deep', JSON_OBJECT('b', 1), 'pad', REPEAT('q', 150)) WHERE id BETWEEN ${id} AND ${id + 4}`,
    `UPDATE IGNORE t SET id = id + 1000, doc = JSON_SET(doc, '$.a', '${value}') WHERE id = ${id}`,
    `UPDATE t, (SELECT ${id} AS other) AS o SET t.note = '${value}' WHERE t.id = o.other`,
  ];
  return all[below(random, all.length)] as string;
}

/** Between two looks at the log. */
const STATEMENTS = 60;

/** `few`: what says most in little time; `parts`: and parts of values beside a copy. */
export function rowImageTests(version: MysqlVersion, extent: 'few' | 'parts' | 'all'): void {
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

    async function partialEvents(): Promise<number> {
      const file = (await server.query('SHOW BINARY LOGS')).at(-1)?.['Log_name'] ?? '';
      return (await server.query(`SHOW BINLOG EVENTS IN '${file}'`)).filter((event) => event['Event_type'] === 'Update_rows_partial').length;
    }

    async function change(session: MysqlSession, random: Random, statements = STATEMENTS): Promise<void> {
      for (let count = 0; count < statements; count++) {
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

    it('with parts of JSON values are made whole, while other rows are copied beside them', async () => {
      const random = seededRandom(Date.now() % 100_000);
      const data = await fresh();
      await using session = await server.connect('shop');
      await session.query(settings('MINIMAL+json'));
      /** Of one row, by turns: what is done twice, or not at all, shows. */
      const counted = (id: number): string => `UPDATE t SET doc = JSON_SET(doc, '$.a', CAST(doc->'$.a' AS unsigned) + 1, '$.list[0]', ${id}), n = n + 1 WHERE id = ${id}`;
      const changes = async (): Promise<void> => {
        for (const id of [7, 70, 120, 170]) await session.query(`${counted(id)}; UPDATE t SET note = 'between' WHERE id = ${id}; ${counted(id)}`);
        await change(session, random, 12);
      };
      await using rig = await CopyRig.start(server, data, {
        bounds: ['50', '100', '150'],
        beforeChunk: changes,
        afterChunk: changes,
      });
      await rig.consistent('shop.t');
      await changes();
      await expectSame(rig);
      expect(await partialEvents()).toBeGreaterThan(0);
    });

    if (extent === 'parts') return;

    it('with parts of JSON values are made whole while a row changes so all the time', async () => {
      const data = await fresh();
      await using session = await server.connect('shop');
      await session.query(settings('MINIMAL+json'));
      const stop = new AbortController();
      const write = async (): Promise<void> => {
        for (let count = 0; !stop.signal.aborted; count++) await session.query(`UPDATE t SET doc = JSON_SET(doc, '$.a', ${count}) WHERE id = ${1 + (count % 3)}`);
      };
      const writing = write();
      try {
        for (let round = 0; round < 3; round++) {
          await using rig = await CopyRig.start(server, `${data}-${round}`);
          await rig.consistent('shop.t');
        }
      } finally {
        stop.abort();
        await writing;
      }
      await using rig = await CopyRig.start(server, `${data}-0`);
      await expectSame(rig);
    });

    it('are made whole under a server that writes whole ones: no stop, no other copy, over restarts and without the index too', async () => {
      const seed = Date.now() % 100_000;
      const random = seededRandom(seed);
      const data = await fresh();
      await using session = await server.connect('shop');
      for (const image of [...IMAGES, 'MINIMAL+json', 'FULL+json', 'NOBLOB+json', 'FULL', 'MINIMAL+json']) {
        {
          await using rig = await CopyRig.start(server, data);
          await rig.consistent('shop.t');
          await session.query(settings(image));
          await change(session, random);
          await expectSame(rig);
        }
        if (image === 'NOBLOB') await rm(join(data, 'sources', 'shop', 'whole-rows'), { recursive: true });
      }
    });

    it('are made whole when the server itself begins to leave columns out, and stops to', async () => {
      const random = seededRandom(Date.now() % 100_000);
      const data = await fresh();
      for (const image of ['FULL', 'MINIMAL+json', 'FULL', 'NOBLOB', 'FULL+json', 'NOBLOB+json', 'MINIMAL']) {
        await server.query(settings(image).replaceAll('SESSION', 'GLOBAL'));
        await using session = await server.connect('shop');
        await using rig = await CopyRig.start(server, data);
        await rig.consistent('shop.t');
        await change(session, random);
        await expectSame(rig);
      }
    });
  });
}
