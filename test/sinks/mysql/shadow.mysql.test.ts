import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type MysqlServer, startMysql } from '../../fixtures/mysql.ts';
import { ShadowStand } from './shadow-stand.ts';

describe('a rebuild beside a MySQL replica', () => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version: 'mysql-9' });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  test('takes the place of what is served, with the indexes that were added; the same request again changes nothing', async () => {
    await using stand = await ShadowStand.open(server);
    const { shadow } = stand.place.sink();
    expect(await shadow.check(stand.request().tables, stand.signal)).toEqual([]);
    await shadow.swap(stand.request(), stand.signal);
    await shadow.swap(stand.request(), stand.signal);
    await stand.expectSwapped();
  });

  test('fences who still applies', async () => {
    await using stand = await ShadowStand.open(server);
    await using sink = stand.place.sink();
    await sink.open(stand.model.start(), stand.signal);
    await stand.place.sink().shadow.swap(stand.request(), stand.signal);
    stand.model.skip(1);
    const { accepted, durable } = sink.apply(stand.model.batch(), stand.signal);
    const [, outcome] = await Promise.allSettled([accepted, durable]);
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'SINK_FENCED' } });
  });

  test('is refused with what is in the way, and changes nothing then', async () => {
    await using stand = await ShadowStand.open(server);
    const { database, reader } = stand.place;
    await reader.query(`ALTER TABLE ${database}.one ADD COLUMN own int; CREATE TRIGGER ${database}.t BEFORE INSERT ON ${database}.two FOR EACH ROW SET NEW.name = NEW.name`);
    const { shadow } = stand.place.sink();
    const findings = await shadow.check(stand.request().tables, stand.signal);
    expect(findings.map(({ what }) => what)).toEqual([`the column own of ${database}.one, which is not the source's`, `the trigger t of ${database}.two`]);
    await expect(shadow.swap(stand.request(), stand.signal)).rejects.toMatchObject({ code: 'REBUILD_IN_THE_WAY' });
    await expect(shadow.swap({ ...stand.request(), from: { ...stand.request().to, offset: 1 } }, stand.signal)).rejects.toMatchObject({ code: 'REBUILD_IN_THE_WAY' });
    await stand.expectWhole();
  });

  test('single tables take their places, and the others stay; asked for again it is refused', async () => {
    await using stand = await ShadowStand.open(server);
    const { database, ownDatabase, reader } = stand.place;
    const { shadow } = stand.place.sink();
    const whole = stand.request();
    const request = { ...whole, tables: whole.tables.filter(({ name }) => name === 'two'), whole: false };
    // Of a table that stays: it is gone on with.
    const intents = JSON.stringify(whole.tables.map(({ tableId }) => ({ tableId, version: 7 })));
    await reader.query(`UPDATE ${ownDatabase}.checkpoint SET intent = '${intents}' WHERE sink = 'replica'`);
    await expect(shadow.swap({ ...request, from: { ...whole.to, offset: 1 } }, stand.signal)).rejects.toMatchObject({ code: 'REBUILD_MOVED' });
    await shadow.swap(request, stand.signal);
    const count = async (sql: string): Promise<string | null | undefined> => (await reader.query(`SELECT COUNT(*) AS n FROM ${database}.${sql}`))[0]?.['n'];
    expect([await count("two WHERE name = 'wrong'"), await count('two'), await count('one')]).toEqual(['0', '40', '29']);
    const [checkpoint] = await reader.query(`SELECT \`offset\`, intent FROM ${ownDatabase}.checkpoint WHERE sink = 'replica'`);
    expect(checkpoint).toEqual({ offset: String(whole.to.offset), intent: JSON.stringify([{ tableId: whole.tables[0]?.tableId, version: 7 }]) });
    await expect(shadow.swap(request, stand.signal)).rejects.toMatchObject({ code: 'REBUILD_MOVED' });
  });

  test('is refused when a checkpoint has moved', async () => {
    await using stand = await ShadowStand.open(server);
    const request = { ...stand.request(), from: { ...stand.request().to, offset: 1 } };
    await expect(stand.place.sink().shadow.swap(request, stand.signal)).rejects.toMatchObject({ code: 'REBUILD_MOVED' });
    await stand.expectWhole();
  });
});
