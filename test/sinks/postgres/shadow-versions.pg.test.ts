import { describe, expect, test } from 'vitest';
import { type PostgresMajor, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { mixedTables } from './shadow-scenario.ts';
import { ShadowStand } from './shadow-stand.ts';

describe.each<PostgresMajor>([13, 15])('on PostgreSQL %i', (version) => {
  test('tables are exchanged, merged and made in one swap', async () => {
    await using server = await startPostgres({ version });
    await using stand = await ShadowStand.open(server);
    await mixedTables(stand);
    const oids = "SELECT 'exchanged'::regclass::oid, 'merged'::regclass::oid";
    const before = await stand.sql(oids);
    await stand.sql("GRANT SELECT ON exchanged TO PUBLIC; COMMENT ON TABLE exchanged IS 'here'; ALTER TABLE exchanged ALTER COLUMN name SET STATISTICS 77");
    await stand.sql('DELETE FROM merged WHERE id = 1; INSERT INTO bag VALUES (7, NULL)');
    await stand.rebuild();
    await stand.expectEqual();
    await stand.expectOneSet(stand.model.offset);
    const after = await stand.sql(oids);
    expect(after[0]?.[0]).not.toBe(before[0]?.[0]);
    expect(after[0]?.[1]).toBe(before[0]?.[1]);
    expect(await stand.sql("SELECT relacl, obj_description(oid, 'pg_class'), (SELECT attstattarget FROM pg_attribute WHERE attrelid = c.oid AND attname = 'title') FROM pg_class c WHERE oid = 'exchanged'::regclass")).toEqual([
      ['{postgres=arwdDxt/postgres,=r/postgres}', 'here', '77'],
    ]);
    expect(await stand.sql("SELECT indexname FROM pg_indexes WHERE tablename = 'exchanged' ORDER BY 1")).toEqual([['by_name'], ['exchanged_pkey']]);
    await stand.goOn();
  });

  test('a role that owns nothing but what the sink made, and may not see the sessions of others', async () => {
    await using server = await startPostgres({ version });
    await server.query('CREATE ROLE mirror LOGIN; GRANT CREATE ON DATABASE postgres TO mirror');
    await using stand = await ShadowStand.open(server);
    await stand.sql(`GRANT CREATE ON DATABASE ${stand.place.database} TO mirror; GRANT ALL ON SCHEMA public TO mirror; DROP SCHEMA tidemark CASCADE`);
    const url = stand.place.url('mirror');
    await using own = new ShadowStand(stand.place, { options: { url } }, stand.model);
    await own.sink.open(own.model.start(), own.signal);
    await mixedTables(own);
    await own.rebuild();
    await own.expectEqual();
    await own.expectOneSet(own.model.offset);
    await own.goOn();
  });
});
