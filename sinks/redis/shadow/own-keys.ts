/** Whose the keys of a database are. */
import type { SinkConfig } from '../../../contracts/config.ts';
import { KeyMatcher } from '../key-matcher.ts';
import type { KeyTemplate } from '../key-template.ts';
import { scanKeys } from '../keyspace.ts';
import { ownKeys } from '../open-store.ts';
import { tableOptionsOf } from '../options.ts';
import { encodeArgument } from '../resp/command-buffer.ts';
import type { Connection } from '../resp/connection.ts';
import { arrayOf, bytesOf } from '../server-error.ts';
import { parseStoredTable, storedTemplate } from '../table-set.ts';

const NOTHING_TO_SETTLE = (): Promise<void> => Promise.resolve();
/** Of a key of somebody else no more is shown than how it begins. */
const MOST_SHOWN = 16;

/** A table that has rows in the database. */
export interface TableKeys {
  readonly template: KeyTemplate;
  /** An encoded argument; null: changes of its rows are not published. */
  readonly channel: Buffer | null;
}

/** The keys of one set of the sink's rows, by the tables that the set itself says that it has. */
export class OwnKeys {
  readonly tables: readonly TableKeys[];
  readonly #prefix: Buffer;
  readonly #indexes: ReadonlySet<string>;
  readonly #matcher: KeyMatcher<TableKeys>;

  private constructor(prefix: string, indexes: ReadonlySet<string>, tables: readonly TableKeys[]) {
    this.tables = tables;
    this.#prefix = Buffer.from(prefix, 'utf8');
    this.#indexes = indexes;
    this.#matcher = new KeyMatcher(tables);
  }

  /** Of the database that the connection has chosen. @throws TidemarkError */
  static async read(connection: Connection, prefix: string, config: SinkConfig): Promise<OwnKeys> {
    const flat = arrayOf(await connection.call('HGETALL', ownKeys(prefix).tables), connection.address);
    const indexes = new Set<string>();
    const tables: TableKeys[] = [];
    for (let i = 1; i < flat.length; i += 2) {
      const stored = parseStoredTable(bytesOf(flat[i] ?? null, connection.address));
      const { publish } = tableOptionsOf(config, stored);
      if (stored.index !== null) indexes.add(Buffer.from(stored.index, 'utf8').toString('latin1'));
      tables.push({ template: storedTemplate(stored), channel: publish === undefined ? null : encodeArgument(publish) });
    }
    return new OwnKeys(prefix, indexes, tables);
  }

  /** The table that can have a row under the key. */
  tableOf(key: Buffer): TableKeys | null {
    return this.#isOfSink(key) ? null : this.#matcher.find(key);
  }

  has(key: Buffer): boolean {
    return this.#isOfSink(key) || this.#matcher.find(key) !== null;
  }

  #isOfSink(key: Buffer): boolean {
    const prefix = this.#prefix;
    return (key.length >= prefix.length && prefix.equals(key.subarray(0, prefix.length))) || this.#indexes.has(key.toString('latin1'));
  }
}

/**
 * Looks at every key of the chosen database: the first one that is not the sink's; null: the database is the sink's own.
 * @param onKeys so many more were looked at
 */
export async function firstForeign(connection: Connection, own: OwnKeys, onKeys: (keys: number) => void, signal: AbortSignal): Promise<Buffer | null> {
  for await (const keys of scanKeys(connection, '', Buffer.alloc(0), NOTHING_TO_SETTLE, signal)) {
    const foreign = keys.find((key) => !own.has(key));
    if (foreign !== undefined) return foreign;
    onKeys(keys.length);
  }
  return null;
}

/** How a key begins, for people: what follows may be a secret. */
export function shownKey(key: Buffer): string {
  const colon = key.indexOf(':');
  const end = colon < 0 || colon > MOST_SHOWN ? Math.min(key.length, MOST_SHOWN) : colon + 1;
  const text = key.toString('latin1', 0, end).replaceAll(/[^\x20-\x7e]/g, '?');
  return end < key.length ? `${text}...` : text;
}
