import { describe, expect, test } from 'vitest';
import { applyAlter } from '../../../../connectors/mysql/ddl/apply-alter.ts';
import { applyCreate } from '../../../../connectors/mysql/ddl/apply-create.ts';
import { readStatement } from '../../../../connectors/mysql/ddl/statement.ts';
import type { TableShape } from '../../../../connectors/mysql/ddl/shape.ts';
import { seededRandom } from '../../../fixtures/runtime.ts';
import { type MysqlVersion, startMysql } from '../../../fixtures/mysql.ts';
import { CHAINS } from './corpus.ts';
import { randomAlter } from './random-alter.ts';
import { type PlainShape, ServerSession, plainShape } from './server-shape.ts';

/** The table's shape after the statement: made, altered, or null where it says nothing of it. */
async function applied(session: ServerSession, sql: string, before: TableShape | null): Promise<TableShape | null> {
  const effect = readStatement(sql, session.context);
  const defaults = await session.defaults();
  if (effect.kind === 'create-table' && effect.source.kind === 'columns') return applyCreate(effect.source.definition, defaults);
  if (effect.kind === 'alter-table' && before !== null) return applyAlter(before, effect, defaults).shape;
  throw new Error(`${effect.kind === 'unknown' ? effect.reason : effect.kind}: ${sql}`);
}

/** Runs on each of the servers, and compares with what information_schema says. */
export function shapeSuite(versions: readonly MysqlVersion[], seeds: readonly number[]): void {
  describe.each(versions)('%s', (version) => {
    test('every statement of the corpus leaves the columns and keys that the server says, and so does SHOW CREATE TABLE', async () => {
      await using server = await startMysql({ version, databases: ['shop'] });
      await using session = await ServerSession.open(server, 'shop');
      const differences: unknown[] = [];
      let compared = 0;
      const strict = session.context;
      for (const chain of CHAINS) {
        if (chain.only !== undefined && chain.only !== strict.flavor) continue;
        if (chain.from !== undefined && chain.from > strict.version) continue;
        const mode = chain.sqlMode ?? 'STRICT_TRANS_TABLES';
        await session.setMode(mode);
        await session.setExplicitTimestamps(chain.explicitTimestamps ?? true);
        await session.run('DROP TABLE IF EXISTS t');
        let shape: TableShape | null = null;
        for (const sql of [chain.create, ...chain.alters]) {
          try {
            await session.run(sql);
            shape = await applied(session, sql, shape);
          } catch (error) {
            differences.push({ sql, error: error instanceof Error ? error.message : error });
            break;
          }
          const [ours, theirs] = [shape === null ? null : plainShape(shape), await session.shape('t')];
          compared++;
          if (!isEqual(ours, theirs)) differences.push({ sql, ...difference(ours, theirs) });
          await session.setMode('');
          const shown = await session.createStatement('t');
          const whole = await applied(session, shown, null);
          const read = whole === null ? null : plainShape(whole);
          if (!isEqual(read, theirs)) differences.push({ shown, ...difference(read, theirs) });
          await session.setMode(mode);
        }
      }
      expect(differences).toEqual([]);
      expect(compared).toBeGreaterThan(80);
    });

    test('statements made at random leave the columns and keys that the server says', async () => {
      await using server = await startMysql({ version, databases: ['shop'] });
      await using session = await ServerSession.open(server, 'shop');
      await session.setMode('STRICT_TRANS_TABLES');
      const create = "CREATE TABLE t (a int, b varchar(20), c text, d decimal(5,2) NOT NULL DEFAULT 1, PRIMARY KEY (a), UNIQUE (b, d), KEY (c(10)))";
      for (const seed of seeds) {
        await session.run('DROP TABLE IF EXISTS t');
        await session.run(create);
        let shape = await applied(session, create, null);
        const random = seededRandom(seed);
        let ran = 0;
        for (let step = 0; step < 60 && shape !== null; step++) {
          const sql = randomAlter(shape, random);
          const refused = await session.run(sql).then(() => false, () => true);
          if (refused) continue;
          ran++;
          shape = await applied(session, sql, shape);
          expect(shape === null ? null : plainShape(shape), `seed ${seed}, step ${step}: ${sql}`).toEqual(await session.shape('t'));
        }
        expect(ran, `seed ${seed}`).toBeGreaterThan(15);
      }
    });
  });
}

/** What the one has and the other has not. */
function difference(ours: PlainShape | null, theirs: PlainShape): { readonly ours: string[]; readonly theirs: string[] } {
  const lines = (shape: PlainShape | null): string[] => (shape === null ? [] : [...shape.columns, ...shape.keys, shape.collation]);
  const [a, b] = [lines(ours), lines(theirs)];
  return { ours: a.filter((line) => !b.includes(line)), theirs: b.filter((line) => !a.includes(line)) };
}

function isEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
