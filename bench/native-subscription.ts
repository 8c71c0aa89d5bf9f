import type { PostgresServer } from '../test/fixtures/embedded-postgres.ts';

/** Postgres' own logical replication, from publication `native` into a database of the same name as its subscription. */
export async function prepareSubscription(source: PostgresServer, sourceDatabase: string, replica: PostgresServer, database: string): Promise<void> {
  await source.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [database], sourceDatabase);
  const connection = `host=127.0.0.1 port=${source.port} user=postgres dbname=${sourceDatabase}`;
  const options = `slot_name = '${database}', create_slot = false, copy_data = false, enabled = false`;
  await replica.query(`CREATE SUBSCRIPTION ${database} CONNECTION '${connection}' PUBLICATION native WITH (${options})`, [], database);
}

export async function enableSubscription(replica: PostgresServer, database: string): Promise<void> {
  await replica.query(`ALTER SUBSCRIPTION ${database} ENABLE`, [], database);
}

export async function disableSubscription(replica: PostgresServer, database: string): Promise<void> {
  await replica.query(`ALTER SUBSCRIPTION ${database} DISABLE`, [], database);
}
