/** The publication: what the server sends. One that is made here names its tables; one that exists is adopted. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName } from '../../../contracts/schema.ts';
import { postgresError } from '../errors.ts';
import type { Session } from '../session.ts';
import { quoted, quoteIdentifier, type SourceTable } from './source-table.ts';

export interface PublicationState {
  readonly name: string;
  readonly allTables: boolean;
  /** insert, update, delete, truncate that it does not publish. */
  readonly missingOperations: readonly string[];
  readonly viaRoot: boolean;
  /** OIDs of its tables, those of its schemas included. */
  readonly tables: ReadonlySet<number>;
  /** OIDs of tables of which it sends only some rows or columns. */
  readonly partial: ReadonlySet<number>;
}

/** Null: there is none. */
export async function readPublication(session: Session, name: string): Promise<PublicationState | null> {
  const [row] = await session.query(
    `SELECT oid, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot FROM pg_publication WHERE pubname = $1`,
    [name],
  );
  if (row === undefined) return null;
  const partial = session.version >= 150_000 ? 'prqual IS NOT NULL OR prattrs IS NOT NULL' : 'false';
  const members = await session.query(`SELECT prrelid AS oid, ${partial} AS partial FROM pg_publication_rel WHERE prpubid = $1`, [row['oid']]);
  const inSchemas = session.version < 150_000 ? [] : await session.query(
    `SELECT c.oid FROM pg_publication_namespace n JOIN pg_class c ON c.relnamespace = n.pnnspid WHERE n.pnpubid = $1 AND c.relkind IN ('r', 'p')`,
    [row['oid']],
  );
  const operations: readonly (readonly [string, string])[] = [
    ['insert', 'pubinsert'], ['update', 'pubupdate'], ['delete', 'pubdelete'], ['truncate', 'pubtruncate'],
  ];
  return {
    name,
    allTables: row['puballtables'] === 't',
    missingOperations: operations.filter(([, column]) => row[column] !== 't').map(([operation]) => operation),
    viaRoot: row['pubviaroot'] === 't',
    tables: new Set([...members, ...inSchemas].map((member) => Number(member['oid']))),
    partial: new Set(members.filter((member) => member['partial'] === 't').map((member) => Number(member['oid']))),
  };
}

/** What must be changed on an existing publication before it can be used, as statements with their reasons. */
export interface PublicationFault {
  readonly what: string;
  readonly statement: string;
}

export function publicationFaults(state: PublicationState, tables: readonly SourceTable[]): PublicationFault[] {
  const faults: PublicationFault[] = [];
  const name = quoteIdentifier(state.name);
  if (state.missingOperations.length > 0) {
    faults.push({
      what: `the publication ${state.name} does not publish ${state.missingOperations.join(', ')}`,
      statement: `ALTER PUBLICATION ${name} SET (publish = 'insert, update, delete, truncate')`,
    });
  }
  if (!state.viaRoot && tables.some((table) => table.partitioned)) {
    faults.push({
      what: `the publication ${state.name} names partitions instead of their root`,
      statement: `ALTER PUBLICATION ${name} SET (publish_via_partition_root = true)`,
    });
  }
  for (const table of tables) {
    if (!state.partial.has(table.oid)) continue;
    faults.push({
      what: `the publication ${state.name} sends only some rows or columns of ${tableName(table)}`,
      statement: `ALTER PUBLICATION ${name} DROP TABLE ${quoted(table)}; ALTER PUBLICATION ${name} ADD TABLE ${quoted(table)}`,
    });
  }
  return faults;
}

export function missingTables(state: PublicationState | null, tables: readonly SourceTable[]): SourceTable[] {
  return state === null || state.allTables ? [] : tables.filter((table) => !state.tables.has(table.oid));
}

/** With generated columns as the stream has them, where the server can send them. */
export function createStatement(name: string, tables: readonly SourceTable[], version: number): string {
  const generated = version >= 180_000 ? ', publish_generated_columns = stored' : '';
  const list = tables.length === 0 ? '' : ` FOR TABLE ${tables.map((table) => member(table)).join(', ')}`;
  return `CREATE PUBLICATION ${quoteIdentifier(name)}${list} WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true${generated})`;
}

export function addStatement(name: string, tables: readonly SourceTable[]): string {
  return `ALTER PUBLICATION ${quoteIdentifier(name)} ADD TABLE ${tables.map((table) => member(table)).join(', ')}`;
}

/** ONLY: inheriting tables are tables of their own; a partitioned root must be named without it. */
function member(table: SourceTable): string {
  return table.partitioned ? quoted(table) : `ONLY ${quoted(table)}`;
}

/**
 * Makes the publication, or adds what an existing one lacks of `tables`. Answers the tables that were added.
 * @throws TidemarkError `POSTGRES_PUBLICATION` with the statement that mends it, where this role may not run it
 */
export async function ensurePublication(session: Session, name: string, tables: readonly SourceTable[]): Promise<SourceTable[]> {
  const state = await readPublication(session, name);
  if (state === null) {
    await change(session, createStatement(name, tables, session.version));
    return [...tables];
  }
  const [fault] = publicationFaults(state, tables);
  if (fault !== undefined) throw new TidemarkError('POSTGRES_PUBLICATION', fault.what, { remedy: `Run: ${fault.statement}` });
  const missing = missingTables(state, tables);
  if (missing.length > 0) await change(session, addStatement(name, missing));
  return missing;
}

async function change(session: Session, statement: string): Promise<void> {
  if (session.inRecovery) {
    throw new TidemarkError('POSTGRES_PUBLICATION', 'the server is a standby, where no publication can be made', { remedy: `Run on the primary: ${statement}` });
  }
  try {
    await session.query(statement);
  } catch (error) {
    const known = postgresError(error);
    if (known.code !== 'POSTGRES_ACCESS') throw known;
    throw new TidemarkError('POSTGRES_PUBLICATION', known.message, {
      cause: error,
      remedy: `Run as the owner of the tables, or of the publication: ${statement}`,
    });
  }
}
