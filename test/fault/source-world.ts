import type { PositionCodec } from '../../contracts/position.ts';
import type { Random } from '../../contracts/runtime.ts';
import type { ShopWorkload } from '../fixtures/shop/writers.ts';
import type { HardWorkload } from './hard-workload.ts';

/** What the crash test asks of the databases at both ends of a hub, whatever kind they are. */

/** Databases with the same words for types: columns of a source and of its replica are then the same. */
export type Dialect = 'postgres' | 'mysql';

export interface NamedTable {
  /** Postgres: the schema. MySQL: the database. */
  readonly namespace: string;
  readonly name: string;
}

export interface FoundTable extends NamedTable {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** Names of the columns of the primary key; none: there is no key. */
  readonly key: readonly string[];
  /** By which the log knows it again; null: by its name. */
  readonly sourceTableId: string | null;
}

/** A row, each column in canonical text; bytes as `\x` and hexadecimal digits. */
export type TextRow = readonly (string | null)[];

/** A session that sees the database as of one moment. */
export interface View extends AsyncDisposable {
  /** Rows in no order. */
  rows(table: NamedTable, columns: readonly string[]): Promise<TextRow[]>;
  tables(): Promise<FoundTable[]>;
  /** What is broken if a part of a transaction is missing; none where all is well. */
  torn(): Promise<string[]>;
}

export interface Checkpoint {
  readonly offset: number;
  /** A change of shape is under way, which the database could not make in one transaction with its checkpoint. */
  readonly isReshaping: boolean;
  /** By table id, the version of the shape that a table has where that may be ahead of the offset: after a change of shape, before what comes behind it. */
  readonly shapes: ReadonlyMap<number, number>;
}

export interface ReplicaView extends View {
  /** Null: the sink has not begun. */
  checkpoint(): Promise<Checkpoint | null>;
}

export interface DatabaseServer extends AsyncDisposable {
  readonly dialect: Dialect;
  /** Port of 127.0.0.1 that the network of the hub is to lead to. */
  readonly port: number;
  restart(how: 'crash' | 'order'): Promise<void>;
  /** Ends the sessions of the hub as an administrator does. */
  endSessions(): Promise<void>;
}

export interface ReplicaServer extends DatabaseServer {
  /** Of the sink. */
  readonly name: string;
  view(): Promise<ReplicaView>;
  /** Configuration of the sink, but where it gets its changes from; `port`: as the hub is to reach it. */
  config(port: number): Readonly<Record<string, unknown>>;
  /** A unique constraint, as users add them: values that swap owners are in each other's way there. */
  addUnique(): Promise<void>;
}

export interface WorkloadStart {
  readonly seed: number;
  readonly transactionsPerSecond: number;
}

/** One server, or several of which one is the primary: what is written goes there, whichever it is. */
export interface SourceServer extends DatabaseServer {
  readonly positions: PositionCodec;
  /** Of the tables that the hub follows: all that are in it. */
  readonly namespace: string;
  view(): Promise<View>;
  config(port: number): Readonly<Record<string, unknown>>;
  startShop(start: WorkloadStart): ShopWorkload;
  /** Beside the shop: what is hard to follow. */
  startHard(seed: number): HardWorkload;
  /** While nobody writes: removes the oldest orders above `mostOrders`, and sets what may be set one way or another. */
  prepare(mostOrders: number, random: Random): Promise<void>;
  /** One change of a table's shape, tried until it gets through. */
  changeShape(random: Random): Promise<void>;
  /** The position of all that is committed, as `tidemark wait` takes it. */
  end(): Promise<string>;
  /** What the database may have thrown away that is not in a log which ends at that position; null: nothing. */
  lostBehind(position: Uint8Array | null): Promise<string | null>;
}
