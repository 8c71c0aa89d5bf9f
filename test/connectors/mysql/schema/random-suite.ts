import { expect, test } from 'vitest';
import type { TableShape } from '../../../../connectors/mysql/ddl/shape.ts';
import type { Random } from '../../../../contracts/runtime.ts';
import { seededRandom } from '../../../fixtures/runtime.ts';
import { startMysql, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { randomAlter } from '../ddl/random-alter.ts';
import { plainShape } from '../ddl/server-shape.ts';
import { Following } from './following.ts';

const NAMES = ['a', 'b', 'c'] as const;
const CREATE = [
  "(a int, b varchar(20), c text, d decimal(5,2) NOT NULL DEFAULT 1, PRIMARY KEY (a), UNIQUE (b, d), KEY (c(10)))",
  "(g int NOT NULL AUTO_INCREMENT, f varchar(5) CHARACTER SET latin1, PRIMARY KEY (g)) CHARACTER SET latin1",
  "(e enum('x','y'), f datetime(3), g int, UNIQUE (e))",
] as const;

function one<T>(random: Random, items: readonly T[]): T {
  const item = items[Math.floor(random.unit() * items.length)];
  if (item === undefined) throw new Error('nothing to choose from');
  return item;
}

/** A statement on one or several of the tables; many are refused by the server. */
function randomStatement(random: Random, shapes: ReadonlyMap<string, TableShape>): string {
  const name = one(random, NAMES);
  const other = one(random, NAMES);
  const shape = shapes.get(name);
  const alter = (): string => (shape === undefined ? `CREATE TABLE ${name} ${one(random, CREATE)}` : randomAlter(shape, random).replace('ALTER TABLE t', `ALTER TABLE ${name}`));
  const insert = (): string => {
    if (shape === undefined) return alter();
    const values = shape.columns.map((column) => randomValue(random, column.type, column.nullable));
    return `INSERT IGNORE INTO ${name} VALUES (${values.join(', ')})`;
  };
  const kind = random.unit();
  if (kind < 0.45) return alter();
  if (kind < 0.75) return insert();
  return one<() => string>(random, [
    () => `RENAME TABLE ${name} TO ${other}`,
    () => `RENAME TABLE ${name} TO swap, ${other} TO ${name}, swap TO ${other}`,
    () => `ALTER TABLE ${name} RENAME TO ${other}, ADD COLUMN z${Math.floor(random.unit() * 9)} int DEFAULT 5`,
    () => `CREATE TABLE ${name} LIKE ${other}`,
    () => `CREATE TABLE ${name} ${one(random, CREATE)}`,
    () => `CREATE TABLE IF NOT EXISTS ${name} ${one(random, CREATE)}`,
    () => `DROP TABLE IF EXISTS ${name}`,
    () => `TRUNCATE TABLE ${name}`,
    () => `DELETE FROM ${name}`,
    () => `DELETE FROM ${name} LIMIT 1`,
    () => `UPDATE IGNORE ${name} SET ${shape === undefined ? 'a' : `\`${one(random, shape.columns).name}\``} = DEFAULT`,
    () => `CREATE OR REPLACE TABLE ${name} ${one(random, CREATE)}`,
  ])();
}

function randomValue(random: Random, type: string, nullable: boolean): string {
  if (nullable && random.unit() < 0.2) return 'NULL';
  const number = Math.floor(random.unit() * 50);
  if (type.startsWith('enum')) return one(random, ["'x'", "'y'"]);
  if (type.startsWith('datetime')) return `'2026-11-${String(10 + (number % 20))} 01:02:03.${number}'`;
  return /int|decimal/.test(type) ? String(number) : `'v${number}'`;
}

/**
 * Statements made at random: after each of them the tracked shapes are what the server says, read anew; and the fold of
 * every table that came in empty, and was not stopped since, is the table.
 */
export function randomSuite(version: MysqlVersion, seeds: readonly number[], steps: number): void {
  test(`${version}: statements made at random leave the shapes and rows that the server has`, async () => {
    await using server = await startMysql({ version });
    let rows = 0;
    for (const seed of seeds) {
      await server.query('DROP DATABASE IF EXISTS shop; CREATE DATABASE shop');
      await using following = await Following.begin(server);
      await following.run("SET SESSION sql_mode = 'STRICT_TRANS_TABLES', time_zone = '+00:00'");
      const random = seededRandom(seed);
      const done = { statements: 0, compared: 0, rows: 0, restarts: 0, stops: 0 };
      for (let step = 0; step < steps; step++) {
        const shapes = new Map(NAMES.flatMap((name) => (following.table(name) === null ? [] : [[name, following.shape(name)] as const])));
        const sql = randomStatement(random, shapes);
        const refused = await following.writer.query(sql).then(() => false, () => true);
        if (refused) continue;
        done.statements++;
        if (random.unit() < 0.1) {
          following.restart();
          done.restarts++;
        }
        await following.settled();
        const where = `seed ${seed}, step ${step}: ${sql}`;
        const there = (await following.session.query(`SHOW TABLES FROM shop`)).map((row) => Object.values(row)[0] ?? '').sort();
        expect(NAMES.filter((name) => following.table(name) !== null), where).toEqual(there);
        for (const name of there) {
          const { shape: tracked, rows: folded, isWhole } = trackedTable(following, name);
          expect(plainShape(tracked), where).toEqual(plainShape(await following.serverShape(name)));
          done.compared++;
          if (!isWhole) {
            done.stops++;
            continue;
          }
          expect(folded, where).toEqual(await shownRows(following, name));
          done.rows += folded.length;
        }
      }
      expect(done.statements, `seed ${seed}: ${JSON.stringify(done)}`).toBeGreaterThan(steps / 4);
      rows += done.rows;
    }
    expect(rows, `rows compared, of the seeds ${seeds.join(', ')}`).toBeGreaterThan(0);
  });
}

/** The table as the log has it. It is whole from its last truncation on, or from its beginning, where nothing has stopped it. */
function trackedTable(following: Following, name: string): { shape: TableShape; rows: string[]; isWhole: boolean } {
  const table = following.table(name);
  const isKeyless = table?.versions.at(-1)?.schema.keyKind === 'none';
  const isWhole = table?.state.state === 'new' && !isKeyless && following.beganEmpty(name);
  return { shape: following.shape(name), rows: isWhole ? following.rows(name).map((row) => row.map((cell) => cell ?? 'NULL').join('|')).sort() : [], isWhole };
}

async function shownRows(following: Following, name: string): Promise<string[]> {
  const columns = following.schema(name).columns.map((column) => {
    const quoted = `\`${column.name}\``;
    const text = column.type.kind === 'bytes' ? `LOWER(HEX(${quoted}))` : column.type.kind === 'timestamp' ? `TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM CONCAT(${quoted}, IF(LOCATE('.', ${quoted}), '', '.'))))` : `CAST(${quoted} AS CHAR CHARACTER SET utf8mb4)`;
    return `IFNULL(${text}, 'NULL')`;
  });
  const rows = await following.session.query(`SELECT CONCAT_WS('|', ${columns.join(', ')}) AS line FROM shop.\`${name}\``);
  return rows.map((row) => row['line'] ?? '').sort();
}
