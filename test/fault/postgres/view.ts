import pg from 'pg';
import type { PostgresServer, Session } from '../../fixtures/embedded-postgres.ts';
import { tornTransactions } from '../../fixtures/shop/schema.ts';
import type { Checkpoint, FoundTable, NamedTable, ReplicaView, TextRow } from '../source-world.ts';

/** In the text that the stream has of each value. @param sink whose checkpoint is asked for */
export async function openPostgresView(server: PostgresServer, database: string, namespace: string, sink = ''): Promise<ReplicaView> {
  const session = await server.connect(database);
  try {
    await session.query(`SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET extra_float_digits = 3; SET search_path = ${pg.escapeIdentifier(namespace)}`);
    await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    return new PostgresView(session, namespace, sink);
  } catch (error) {
    await session.end();
    throw error;
  }
}

class PostgresView implements ReplicaView {
  readonly #session: Session;
  readonly #namespace: string;
  readonly #sink: string;

  constructor(session: Session, namespace: string, sink: string) {
    this.#session = session;
    this.#namespace = namespace;
    this.#sink = sink;
  }

  async rows({ namespace, name }: NamedTable, columns: readonly string[]): Promise<TextRow[]> {
    const { rows } = await this.#session.query<(string | null)[]>({
      text: `SELECT ${columns.map((column) => `${pg.escapeIdentifier(column)}::text`).join(', ')} FROM ${pg.escapeIdentifier(namespace)}.${pg.escapeIdentifier(name)}`,
      rowMode: 'array',
    });
    return rows;
  }

  async tables(): Promise<FoundTable[]> {
    const { rows } = await this.#session.query<FoundTable>(
      `SELECT n.nspname::text AS namespace, c.relname::text AS name, c.oid::text AS "sourceTableId",
              coalesce((SELECT json_agg(json_build_object('name', attname, 'type', replace(format_type(atttypid, atttypmod), quote_ident(n.nspname) || '.', '')) ORDER BY attnum)
                 FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped), '[]') AS columns,
              coalesce((SELECT json_agg(a.attname ORDER BY k.n) FROM pg_index AS i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n), pg_attribute AS a
                WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND a.attnum = k.attnum), '[]') AS key
         FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relkind = 'r'`,
      [this.#namespace],
    );
    return rows;
  }

  torn(): Promise<string[]> {
    return tornTransactions(this.#session);
  }

  async checkpoint(): Promise<Checkpoint | null> {
    const { rows: there } = await this.#session.query<{ there: boolean }>("SELECT to_regclass('tidemark.checkpoint') IS NOT NULL AS there");
    if (there[0]?.there !== true) return null;
    const { rows } = await this.#session.query<{ offset: string }>('SELECT "offset"::text FROM tidemark.checkpoint WHERE sink = $1', [this.#sink]);
    return rows[0] === undefined ? null : { offset: Number(rows[0].offset), isReshaping: false, shapes: new Map() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session.end();
  }
}
