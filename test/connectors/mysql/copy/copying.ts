/** A copier on a real server, beside a stream that is told where it stands. */
import type { CopiedChunk, CopyPlan } from '../../../../contracts/connector.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { readImage } from '../../../../contracts/row-image.ts';
import type { Column, TableSchema } from '../../../../contracts/schema.ts';
import { mysqlLogicalType, mysqlType } from '../../../../contracts/types/mysql-types.ts';
import { GtidSet } from '../../../../connectors/mysql/gtid-set.ts';
import { MariadbGtids } from '../../../../connectors/mysql/mariadb-gtid.ts';
import type { BinlogPlace } from '../../../../connectors/mysql/position.ts';
import type { CopierDeps, FollowedShape } from '../../../../connectors/mysql/copy/copier-deps.ts';
import { MysqlCopier } from '../../../../connectors/mysql/copy/copier.ts';
import { DEFAULT_VALUE_OPTIONS } from '../../../../connectors/mysql/values/value-options.ts';
import type { MysqlServer, MysqlSession } from '../../../fixtures/mysql.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { endpointOf, mysqlSource } from '../mysql-source.ts';

/** A stream that has always come to the end of the binlog when it is asked for more. */
export class FakeStream {
  place: BinlogPlace | null = null;
  readonly #server: MysqlServer;
  /** While true, it does not move. */
  isHeld = false;

  constructor(server: MysqlServer) {
    this.#server = server;
  }

  async moved(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.isHeld) await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('held'))));
    this.place = await endOf(this.#server);
  }
}

export async function endOf(server: MysqlServer): Promise<BinlogPlace> {
  const [status] = await server.query(server.version === 'mysql-9' ? 'SHOW BINARY LOG STATUS' : 'SHOW MASTER STATUS');
  const place = { file: status?.['File'] ?? '', offset: Number(status?.['Position']) };
  if (server.flavor === 'mysql') {
    const [row] = await server.query('SELECT @@server_uuid AS server, @@GLOBAL.gtid_mode AS gtid_mode');
    return { flavor: 'mysql', server: row?.['server'] ?? '', ...place, isByGtid: row?.['gtid_mode'] === 'ON', executed: GtidSet.parse(status?.['Executed_Gtid_Set'] ?? '') };
  }
  const [row] = await server.query('SELECT @@server_id AS server, @@GLOBAL.gtid_binlog_pos AS gtids');
  return { flavor: 'mariadb', server: row?.['server'] ?? '', ...place, isByGtid: true, executed: MariadbGtids.parse(row?.['gtids'] ?? '') };
}

export interface CopyBench extends AsyncDisposable {
  readonly copier: MysqlCopier;
  readonly stream: FakeStream;
  readonly deps: CopierDeps;
  /** What the stream has followed, by identity; changed at will. */
  readonly followed: Map<string, FollowedShape>;
  readonly session: MysqlSession;
  /** Follows the table as it is now. Identity: the name that it has now. */
  follow(name: string, id?: string): Promise<TableSchema>;
}

export async function benchOf(server: MysqlServer, limits: { spoolBytes?: number; rangeBytes?: number } = {}, user = 'root'): Promise<CopyBench> {
  const followed = new Map<string, FollowedShape>();
  const stream = new FakeStream(server);
  const endpoint = endpointOf(server.url('shop', user));
  const { clock, logger } = createTestRuntime();
  const deps: CopierDeps = {
    config: mysqlSource(server.url('shop', user)),
    clock,
    logger,
    stream,
    values: DEFAULT_VALUE_OPTIONS,
    maxRowBytes: 64 << 20,
    open: (signal) => endpoint.open(signal, { isRaw: true }),
    table: (id) => followed.get(id) ?? null,
    isWide: () => false,
    hash: () => Buffer.alloc(64, 'h'),
  };
  const copier = new MysqlCopier(deps, limits);
  const session = await server.connect('shop');
  return {
    copier, stream, deps, followed, session,
    follow: async (name, id = name) => {
      const schema = await schemaOf(session, name, id);
      followed.set(id, { schema, isKnown: true });
      return schema;
    },
    [Symbol.asyncDispose]: async () => {
      await copier[Symbol.asyncDispose]();
      await session[Symbol.asyncDispose]();
    },
  };
}

/** The table's shape as the log would have it. */
export async function schemaOf(session: MysqlSession, name: string, id: string): Promise<TableSchema> {
  const rows = await session.query(
    `SELECT COLUMN_NAME AS name, COLUMN_TYPE AS type, CHARACTER_SET_NAME AS charset, COLLATION_NAME AS collation_name, IS_NULLABLE AS nullable
       FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`,
    [name],
  );
  const columns = rows.map((row, at): Column => {
    const type = mysqlType({ columnType: row['type'] ?? '', charset: row['charset'] ?? null, collation: row['collation_name'] ?? null });
    return {
      number: at + 1, name: row['name'] ?? '', type: mysqlLogicalType(type, `shop.${name}.${row['name'] ?? ''}`), nativeType: type.text,
      nullable: row['nullable'] === 'YES', constantDefault: null, fill: null, generated: 'no', identity: 'no',
    };
  });
  const keys = await session.query(
    `SELECT COLUMN_NAME AS name FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = ? AND INDEX_NAME IN ('PRIMARY', 'identity') ORDER BY SEQ_IN_INDEX`,
    [name],
  );
  const key = keys.map((row) => columns.findIndex((column) => column.name === row['name']));
  return { tableId: 1, version: 1, sourceTableId: id, namespace: 'shop', name, columns, keyKind: key.length === 0 ? 'none' : 'primary', key };
}

/** Rows of a chunk: key in hexadecimal, then the cells; bytes as `\x…`. */
export async function rowsOf(chunk: CopiedChunk): Promise<{ key: string; cells: (string | null)[] }[]> {
  const rows: { key: string; cells: (string | null)[] }[] = [];
  for await (const batch of chunk.batches()) {
    const view = new RecordView();
    for (view.reset(batch.records); view.next(); ) {
      const cells = readImage(view.after()).map((cell) => (cell === null || typeof cell === 'string' ? cell : `\\x${Buffer.from(cell as Uint8Array).toString('hex')}`));
      rows.push({ key: view.key().toString('hex'), cells });
    }
  }
  return rows;
}

/** Every chunk of a plan, one after the other, with what each leaves over; as long as `more` says so. */
export async function copyAll(copier: MysqlCopier, plan: CopyPlan, signal: AbortSignal, more: (done: readonly string[]) => boolean = () => true): Promise<{ rows: { key: string; cells: (string | null)[] }[]; done: string[] }> {
  const left = [...plan.ranges];
  const done: string[] = [];
  const rows: { key: string; cells: (string | null)[] }[] = [];
  for (let range = left.shift(); range !== undefined && more(done); range = left.shift()) {
    await using chunk = await copier.chunk(plan, range, signal);
    if (chunk.rest !== undefined && chunk.rest !== null) left.unshift(chunk.rest);
    rows.push(...(await rowsOf(chunk)));
    done.push(chunk.range);
  }
  return { rows, done };
}
