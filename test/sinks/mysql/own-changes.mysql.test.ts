/** Tables that somebody has changed at the replica, and hubs that come upon each other there. */
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { KIT_COLUMNS } from '../../../contracts/kit/sink-kit-rows.ts';
import { isError, refused, Stand } from '../../../contracts/kit/sink-kit-stand.ts';
import { modelColumn, type ModelColumn, type ModelRow } from '../../../contracts/kit/sink-model.ts';
import { quoteName } from '../../../sinks/mysql/sql.ts';
import { Session, type TextRow } from '../../../sinks/mysql/session.ts';
import { type MysqlServer, type MysqlVersion, startMysql } from '../../fixtures/mysql.ts';
import { replicaPlace, type ReplicaPlace } from './replica-place.ts';

const VERSIONS: readonly MysqlVersion[] = ['mysql-8.0', 'mariadb-11.8'];
const TEXT = { kind: 'text', length: null, fixed: false } as const;
const ADDED: ModelColumn = { name: 'added', type: { kind: 'text', length: 1_000, fixed: false }, nativeType: 'character varying(1000)', fill: 'filled' };
const AT: ModelColumn = { name: 'at', type: { kind: 'timestamp', digits: 6 }, nativeType: 'timestamp(6) without time zone' };

interface OwnPlace {
  readonly place: ReplicaPlace;
  readonly stand: Stand;
  /** Of the table of that name. */
  readonly sql: (table: string, statement: (target: string) => string) => Promise<unknown>;
}

for (const version of VERSIONS) {
  describe(version, () => {
    let server: MysqlServer;
    beforeAll(async () => {
      server = await startMysql({ version });
    });
    afterAll(() => server[Symbol.asyncDispose]());
    afterEach(() => void vi.restoreAllMocks());

    async function onPlace(run: (own: OwnPlace) => Promise<void>): Promise<void> {
      const place = await replicaPlace(server);
      await using stand = new Stand({ place: () => Promise.resolve(place), keyless: true, reshapes: true, seed: 1 }, place);
      await stand.open();
      await run({ place, stand, sql: (table, statement) => place.reader.query(statement(`${quoteName(place.database)}.${quoteName(table)}`)) });
    }

    test('a change of shape that the replica refuses for a reason of its own takes no rows', () => onPlace(async ({ stand, sql }) => {
      const things = stand.standardTable();
      for (let id = 1; id <= 5; id++) things.insert(id, `row ${id}`);
      await stand.apply();
      // With it the rows may be longer than a table's can be.
      await sql('things', (target) => `ALTER TABLE ${target} ADD COLUMN own varchar(16000) CHARACTER SET utf8mb4`);
      stand.model.alterTable(things.table, { columns: [...things.table.schema.columns, modelColumn(ADDED, 20)] });
      const batch = stand.model.batch();
      await refused(stand, stand.sink, batch, 'REPLICA_SHAPE');
      expect(await sql('things', (target) => `SELECT COUNT(*) AS n FROM ${target}`)).toEqual([{ n: '5' }]);
      await sql('things', (target) => `ALTER TABLE ${target} DROP COLUMN own`);
      await stand.open();
      await stand.applyBatch(batch);
      await stand.compare('the shape was changed after all');
    }));

    test('a column that somebody has given a type of their own keeps it, whatever becomes NOT NULL meanwhile', () => onPlace(async ({ stand, sql, place }) => {
      const never = [{ ...ADDED, name: 'theirs', fill: null, nullable: false }, { ...ADDED, name: 'ours', fill: null, nullable: false }];
      const table = stand.model.createTable('kit', 'typed', [...KIT_COLUMNS, ...never], ['id']);
      await stand.apply();
      const [made] = await place.reader.query(`SELECT CONCAT(COLUMN_TYPE, ' CHARACTER SET ', CHARACTER_SET_NAME, ' COLLATE ', COLLATION_NAME) AS type FROM information_schema.COLUMNS
        WHERE TABLE_SCHEMA = '${place.database}' AND TABLE_NAME = 'typed' AND COLUMN_NAME = 'ours'`);
      await sql('typed', (target) => `ALTER TABLE ${target} MODIFY theirs varchar(50) DEFAULT 'own' COMMENT 'of our own', MODIFY ours ${made?.['type'] ?? ''} NULL`);
      stand.model.tableState(table, 'copying');
      stand.model.insert(table, ['1', 'row', '1', null, 't', 'a', 'b']);
      stand.model.tableState(table, 'copied');
      await stand.apply();
      stand.model.alterTable(table, { columns: [...table.schema.columns, modelColumn(ADDED, 20)] });
      await stand.apply();
      const found = await place.reader.query(`SELECT COLUMN_NAME AS name, COLUMN_TYPE AS type, IS_NULLABLE AS nullable, COLUMN_COMMENT AS comment FROM information_schema.COLUMNS
        WHERE TABLE_SCHEMA = '${place.database}' AND TABLE_NAME = 'typed' AND COLUMN_NAME IN ('theirs', 'ours') ORDER BY name DESC`);
      expect(found).toEqual([
        { name: 'theirs', type: 'varchar(50)', nullable: 'YES', comment: 'of our own' }, { name: 'ours', type: 'varchar(1000)', nullable: 'NO', comment: '' },
      ]);
    }));

    test('rows that a change of the source cannot keep go, where all of them come again', () => onPlace(async ({ stand }) => {
      const things = stand.standardTable();
      things.insert(1, 'no number');
      await stand.apply();
      const retyped = things.table.schema.columns.map((column) => (column.name === 'name' ? { ...column, type: { kind: 'int32' } as const, nativeType: 'integer' } : column));
      stand.model.tableState(things.table, 'stopped');
      stand.model.alterTable(things.table, { columns: retyped });
      await stand.apply();
      expect(await stand.place.rows(things.table.schema)).toEqual([]);
    }));

    test('columns that follow the clock keep the values of the source', () => onPlace(async ({ stand, sql }) => {
      const table = stand.model.createTable('kit', 'timed', [...KIT_COLUMNS, AT], ['id']);
      const row = (id: number, name: string): ModelRow => [String(id), name, '1', null, 't', '2020-02-02 02:02:02.5'];
      for (let id = 1; id <= 3; id++) stand.model.insert(table, row(id, `row ${id}`));
      await stand.apply();
      await sql('timed', (target) => `ALTER TABLE ${target} MODIFY \`at\` datetime(6) NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP(6), ADD COLUMN own int DEFAULT 7, ADD COLUMN added varchar(1000), ADD UNIQUE (name(100))`);
      await stand.open();
      stand.model.update(table, row(1, 'row 1'), row(1, 'changed'));
      await stand.apply();
      const shown = (): Promise<unknown> => sql('timed', (target) => `SELECT id, name, CAST(\`at\` AS CHAR) AS t, own, added FROM ${target} ORDER BY id`);
      const time = '2020-02-02 02:02:02.500000';
      expect(await shown()).toMatchObject([{ id: '1', name: 'changed', t: time, own: '7' }, { t: time }, { t: time }]);
      stand.model.alterTable(table, { columns: [...table.schema.columns, modelColumn(ADDED, 20)] });
      await stand.apply();
      expect(await shown()).toMatchObject([1, 2, 3].map(() => ({ t: time, own: '7', added: 'filled' })));
    }));

    test('enum and set are parts of keys, the value that is no label among them', () => onPlace(async ({ stand }) => {
      const collation = version.startsWith('mysql') ? 'utf8mb4_0900_ai_ci' : 'utf8mb4_uca1400_ai_ci';
      const native = (type: string): string => `${type}('a','b','it''s') character set utf8mb4 collate ${collation}`;
      const labels = ['a', 'b', "it's"];
      const table = stand.model.createTable('kit', 'labelled', [
        { name: 'e', type: { kind: 'enum', name: 'kit.labelled.e', labels }, nativeType: native('enum'), nullable: false },
        { name: 's', type: { kind: 'set', name: 'kit.labelled.s', labels }, nativeType: native('set'), nullable: false },
        { name: 'v', type: TEXT, nativeType: 'text character set utf8mb4 collate utf8mb4_bin' },
      ], ['e', 's']);
      Object.assign(table.schema, { dialect: 'mysql' });
      const keys = ['', ...labels].flatMap((e) => ['', 'a', "a,b,it's"].map((s) => [e, s] as const));
      for (const [e, s] of keys) stand.model.insert(table, [e, s, 'first']);
      await stand.apply();
      await stand.compare('rows');
      for (const [e, s] of keys) if (s !== 'a') stand.model.update(table, [e, s, 'first'], [e, s, 'second']);
      for (const [e] of keys.filter(([, s]) => s === 'a')) stand.model.delete(table, [e, 'a', 'first']);
      await stand.apply();
      await stand.compare('changed and deleted');
    }));

    test('who has been replaced does not change a table behind the back of the other', () => onPlace(async ({ stand, sql }) => {
      const things = stand.model.createTable('kit', 'things', KIT_COLUMNS.map((column) => (column.name === 'name' ? { ...column, nullable: false } : column)), ['id']);
      stand.model.tableState(things, 'copying');
      stand.model.insert(things, ['1', 'one', null, null, null]);
      await stand.apply();
      await sql('things', (target) => `ALTER TABLE ${target} MODIFY name longtext NULL`);
      await stand.open();
      stand.model.tableState(things, 'copied');
      const batch = stand.model.batch();
      const other = stand.another();
      let isReplaced = false;
      const rows = Reflect.get(Session.prototype, 'rows') as (this: Session, sql: string) => Promise<TextRow[]>;
      vi.spyOn(Session.prototype, 'rows').mockImplementation(async function (this: Session, text: string) {
        // The batch is committed: the other hub comes now, and gives the column another type.
        if (!isReplaced && text.includes('lock_wait_timeout AS seconds')) {
          isReplaced = true;
          await stand.open(other);
          await sql('things', (target) => `ALTER TABLE ${target} MODIFY name varchar(77) NULL`);
        }
        return Reflect.apply(rows, this, [text]) as Promise<TextRow[]>;
      });
      const { accepted, durable } = stand.sink.apply(batch, stand.signal);
      await accepted;
      await expect(durable).rejects.toSatisfy(isError('SINK_FENCED'));
      expect(isReplaced).toBe(true);
      expect(await sql('things', (target) => `SHOW COLUMNS FROM ${target} LIKE 'name'`)).toMatchObject([{ Type: 'varchar(77)', Null: 'YES' }]);
    }));
  });
}
