import { decodeSchema } from '../../../contracts/schema.ts';
import type { MysqlSession } from '../../fixtures/mysql-session.ts';
import { tornMysqlTransactions } from '../../fixtures/shop/mysql-schema.ts';
import type { Checkpoint, FoundTable, NamedTable, ReplicaView, TextRow, View } from '../source-world.ts';

/** What the text protocol says of a value, as its canonical text. */
type Canonical = (bytes: Buffer) => string;

const asItIs: Canonical = (bytes) => bytes.toString('utf8');
const inHex: Canonical = (bytes) => `\\x${bytes.toString('hex')}`;
const withoutZeros = (text: string): string => text.replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');

/** Only types that the crash test's tables have: another one is to be thought about first. */
const CANONICAL: Readonly<Record<string, Canonical>> = {
  ...Object.fromEntries(['tinyint', 'smallint', 'int', 'bigint', 'decimal', 'char', 'varchar', 'text', 'mediumtext', 'longtext', 'enum', 'set', 'json', 'date'].map((type) => [type, asItIs])),
  ...Object.fromEntries(['binary', 'varbinary', 'blob'].map((type) => [type, inHex])),
  datetime: (bytes) => withoutZeros(bytes.toString('latin1')),
  timestamp: (bytes) => `${withoutZeros(bytes.toString('latin1'))}+00`,
};

export class MysqlView implements View {
  protected readonly session: MysqlSession;
  readonly #database: string;

  protected constructor(session: MysqlSession, database: string) {
    this.session = session;
    this.#database = database;
  }

  /** Takes the session over, which stands in the database. */
  static async open(session: MysqlSession, database: string): Promise<MysqlView> {
    await beginSnapshot(session);
    return new MysqlView(session, database);
  }

  async rows({ namespace, name }: NamedTable, columns: readonly string[]): Promise<TextRow[]> {
    const types = await this.session.query('SELECT column_name AS name, data_type AS type FROM information_schema.columns WHERE table_schema = ? AND table_name = ?', [namespace, name]);
    const forms = columns.map((column) => {
      const type = types.find((one) => one['name'] === column)?.['type'] ?? 'missing';
      const form = CANONICAL[type];
      if (form === undefined) throw new Error(`the audit has no form for column ${namespace}.${name}.${column}, which is ${type}`);
      return form;
    });
    const sql = `SELECT ${columns.map(quoted).join(', ')} FROM ${quoted(namespace)}.${quoted(name)}`;
    const [rows] = await this.session.connection.query({ sql, rowsAsArray: true, typeCast: (field) => field.buffer() });
    if (!isCells(rows)) throw new Error(`${namespace}.${name} has no rows to look at`);
    return rows.map((row) => row.map((cell, index) => (cell === null ? null : (forms[index] ?? asItIs)(cell))));
  }

  async tables(): Promise<FoundTable[]> {
    const columns = await this.session.query(
      `SELECT c.table_name AS name, c.column_name AS column_name, c.column_type AS type,
              (SELECT s.seq_in_index FROM information_schema.statistics AS s WHERE s.table_schema = c.table_schema AND s.table_name = c.table_name
                 AND s.column_name = c.column_name AND s.index_name = 'PRIMARY') AS place
         FROM information_schema.columns AS c JOIN information_schema.tables AS t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
        WHERE c.table_schema = ? AND t.table_type = 'BASE TABLE' ORDER BY c.table_name, c.ordinal_position`,
      [this.#database],
    );
    return [...Map.groupBy(columns, (row) => row['name'] ?? '')].map(([name, rows]) => ({
      namespace: this.#database,
      name,
      sourceTableId: null,
      // Only some servers show display widths.
      columns: rows.map((row) => ({ name: row['column_name'] ?? '', type: (row['type'] ?? '').replace(/^((?:tiny|small|medium|big)?int)\(\d+\)/, '$1') })),
      key: rows.filter((row) => row['place'] !== null).toSorted((a, b) => Number(a['place']) - Number(b['place'])).map((row) => row['column_name'] ?? ''),
    }));
  }

  torn(): Promise<string[]> {
    return tornMysqlTransactions(this.session);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session[Symbol.asyncDispose]();
  }
}

/** Of a database that a sink mirrors into. */
export class MysqlReplicaView extends MysqlView implements ReplicaView {
  readonly #sink: string;

  private constructor(session: MysqlSession, database: string, sink: string) {
    super(session, database);
    this.#sink = sink;
  }

  static async openFor(sink: string, session: MysqlSession, database: string): Promise<MysqlReplicaView> {
    await beginSnapshot(session);
    return new MysqlReplicaView(session, database, sink);
  }

  async checkpoint(): Promise<Checkpoint | null> {
    const there = await this.session.query("SELECT 1 AS one FROM information_schema.tables WHERE table_schema = 'tidemark' AND table_name = 'checkpoint'");
    if (there.length === 0) return null;
    const [row] = await this.session.query('SELECT `offset` AS place, intent FROM tidemark.checkpoint WHERE sink = ?', [this.#sink]);
    if (row === undefined) return null;
    const shapes = await this.session.query('SELECT table_id, shape FROM tidemark.mirrored_table WHERE sink = ?', [this.#sink]);
    return {
      offset: Number(row['place']),
      isReshaping: row['intent'] !== null,
      shapes: new Map(shapes.map(({ table_id: tableId, shape }) => [Number(tableId), decodeSchema(Buffer.from(shape ?? '', 'utf8')).version])),
    };
  }
}

async function beginSnapshot(session: MysqlSession): Promise<void> {
  await session.query("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET SESSION time_zone = '+00:00'; START TRANSACTION WITH CONSISTENT SNAPSHOT");
}

function isCells(rows: unknown): rows is (Buffer | null)[][] {
  return Array.isArray(rows) && rows.every((row) => Array.isArray(row));
}

function quoted(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}
