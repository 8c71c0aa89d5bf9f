import { describe } from 'vitest';
import type { SourceConnector } from '../connector.ts';
import { changeTests } from './connector-kit-changes.ts';
import { resumeTests } from './connector-kit-resume.ts';
import { snapshotTests } from './connector-kit-snapshot.ts';
import { streamTests } from './connector-kit-stream.ts';

/** A change to a table of the kit. Tables have the columns `id` (integer, primary key) and `v` (text, may be null). */
export type KitChange =
  | { readonly op: 'insert' | 'update'; readonly table: string; readonly id: number; readonly v: string | null }
  | { readonly op: 'delete'; readonly table: string; readonly id: number }
  /** Changes the key of a row. */
  | { readonly op: 'rekey'; readonly table: string; readonly id: number; readonly to: number }
  | { readonly op: 'truncate'; readonly table: string };

/** A real database that a connector reads; every test gets an empty one. */
export interface KitSource extends AsyncDisposable {
  /** A connector that captures every table. A new one at each call, always for the same hub; the kit disposes it. */
  connector(): SourceConnector;
  createTable(name: string): Promise<void>;
  /** Adds a text column without default. */
  addColumn(table: string, column: string): Promise<void>;
  dropTable(name: string): Promise<void>;
  /** All of it as one transaction, committed when this resolves. */
  transact(changes: readonly KitChange[]): Promise<void>;
  /** Changes the database's log, but no captured table. */
  elsewhere(): Promise<void>;
  /** The rows there are now: id to v. */
  rows(table: string): Promise<Map<number, string | null>>;
  /** The end of the database's log, as `PositionCodec.parse` reads it. */
  head(): Promise<string>;
  /**
   * Breaks the connections of streams, again and again until the signal is aborted: one that ended may be listed for a
   * while, and the one that is to be broken may be about to connect.
   */
  cut(broken: AbortSignal): Promise<void>;
}

/**
 * Declares the tests that every connector must pass: preparing twice, whole transactions in commit order, schemas before
 * their first use, key changes, truncation, progress of an idle source, back-pressure, abort, cuts, and going on from any
 * durable position without loss or repetition; random work with random cuts against the database's own rows; snapshots,
 * where the connector has them.
 */
export function connectorKit(name: string, makeSource: () => Promise<KitSource>): void {
  describe(`connector: ${name}`, () => {
    streamTests(makeSource);
    changeTests(makeSource);
    resumeTests(makeSource);
    snapshotTests(makeSource);
  });
}
