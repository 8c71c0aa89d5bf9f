/** Servers whose settings are none that anybody would choose for a replica: the sink's sessions have their own. */
import { afterAll, beforeAll, describe, test } from 'vitest';
import { sinkKit } from '../../../contracts/kit/sink-kit.ts';
import { type MysqlServer, type MysqlSettings, type MysqlVersion, startMysql } from '../../fixtures/mysql.ts';
import { replicaPlace } from './replica-place.ts';

const ODD: MysqlSettings = {
  completion_type: 'RELEASE', sql_mode: 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,NO_ZERO_DATE,NO_ZERO_IN_DATE,IGNORE_SPACE',
  explicit_defaults_for_timestamp: false, max_join_size: 1, default_storage_engine: 'MyISAM', default_tmp_storage_engine: 'MyISAM', character_set_server: 'latin1',
  default_time_zone: '+05:45', low_priority_updates: true, innodb_rollback_on_timeout: true,
};
const OWN: Readonly<Record<'mysql' | 'mariadb', MysqlSettings>> = {
  mysql: { sql_generate_invisible_primary_key: true },
  mariadb: { sql_safe_updates: true, idle_transaction_timeout: 1, idle_write_transaction_timeout: 1, max_statement_time: 0.5, innodb_default_row_format: 'compact' },
};
/** Those that use each kind of statement: the rest is the same on any server. */
const CASES = ['rows are inserted', 'a second owner', 'columns are added', 'a sink is filled', 'random changes', 'a table without a key', 'unique values', 'take the names', 'it shows the checkpoint'];

for (const version of ['mysql-8.0', 'mariadb-11.8'] as const satisfies readonly MysqlVersion[]) {
  describe(version, () => {
    let server: MysqlServer;
    beforeAll(async () => {
      server = await startMysql({ version, settings: { ...ODD, ...OWN[version.startsWith('mysql') ? 'mysql' : 'mariadb'] } });
    });
    afterAll(() => server?.[Symbol.asyncDispose]());
    for (const { name, run } of sinkKit({ place: () => replicaPlace(server), keyless: true, reshapes: true, seed: 7, batches: 6 })) {
      if (CASES.some((part) => name.includes(part))) test(name, run);
    }
  });
}
