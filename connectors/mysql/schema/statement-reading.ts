/** What a query event says: its statement as text, under what it was run, and what it does to tables. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { FormatDescription } from '../binlog/format-description.ts';
import type { QueryEvent, StatementSession } from '../binlog/query-event.ts';
import type { ServerFacts } from '../catalog/server-facts.ts';
import { charsetOfCollation } from '../charset/collations.ts';
import { textOf, transcoderOf } from '../charset/transcoder.ts';
import type { CharsetDefaults } from '../ddl/charsets.ts';
import type { SqlContext } from '../ddl/context.ts';
import { mentions, type StatementEffect } from '../ddl/effects.ts';
import { readStatement } from '../ddl/statement.ts';

export interface ReadStatement {
  readonly effect: StatementEffect;
  readonly defaults: CharsetDefaults;
  /** A collation that the session has chosen has no name here: what a character set means by default is not known. */
  readonly isUnclear: boolean;
}

const NOTHING: StatementEffect = { kind: 'nothing' };
/** MariaDB's ALTER in two phases: the first only begins it, and what is rolled back has changed nothing. */
const BEGINS_ALTER = 2;
const ROLLS_ALTER_BACK = 8;

/**
 * @throws TidemarkError `MYSQL_STATEMENT` for a statement that is longer than any that is read
 */
export function readQuery(event: QueryEvent, format: FormatDescription, facts: ServerFacts): ReadStatement {
  const { session } = event;
  const context = contextOf(event, format, facts);
  const chosen = chosenCollations(session, format, facts);
  const defaults: CharsetDefaults = { databaseCollation: '', collations: chosen ?? new Map() };
  const isUnclear = chosen === null;
  if ((session.gtidFlags & (BEGINS_ALTER | ROLLS_ALTER_BACK)) !== 0) return { effect: NOTHING, defaults, isUnclear };
  const text = statementText(event);
  if (text !== null) return { effect: readStatement(text, context), defaults, isUnclear };
  // Names in ASCII are found all the same.
  const reason = 'its bytes are no text in the character set of its client';
  return { effect: { kind: 'unknown', reason, ...mentions(event.statement.toString('latin1'), context) }, defaults, isUnclear };
}

function contextOf({ database, session }: QueryEvent, format: FormatDescription, { lowerCaseNames }: ServerFacts): SqlContext {
  const explicit = format.flavor === 'mariadb' ? session.hasExplicitTimestampsBit : (session.explicitDefaultsForTimestamp ?? true);
  return {
    flavor: format.flavor,
    version: versionOf(format.serverVersion),
    database,
    sqlMode: session.sqlMode ?? 0n,
    lowerCaseNames,
    explicitTimestamps: explicit,
  };
}

/** `9.7.4-log` as 90704; of MariaDB behind the `5.5.5-` that it may write before. */
function versionOf(text: string): number {
  const [, major = '0', minor = '0', patch = '0'] = /^(?:5\.5\.5-(?=1))?(\d+)\.(\d+)\.(\d+)/.exec(text) ?? [];
  return Number(major) * 10_000 + Number(minor) * 100 + Number(patch);
}

/** Null: one of them has no name. */
function chosenCollations(session: StatementSession, format: FormatDescription, { collations }: ServerFacts): Map<string, string> | null {
  const chosen = new Map<string, string>();
  const ids = format.flavor === 'mysql' ? (session.utf8mb4Collation === 0 ? [] : [session.utf8mb4Collation]) : session.charsetCollations.values();
  for (const id of ids) {
    const name = collations.get(id);
    const charset = charsetOfCollation(id);
    if (name === undefined || charset === null) return null;
    chosen.set(charset, name);
  }
  return chosen;
}

/** Null: the bytes are no text. */
function statementText({ statement, session }: QueryEvent): string | null {
  const charset = session.charset === null ? 'utf8mb4' : charsetOfCollation(session.charset.client);
  const transcoder = charset === null ? null : transcoderOf(charset === 'binary' ? 'latin1' : charset);
  if (transcoder === null) return null;
  try {
    return textOf(transcoder, statement);
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'MYSQL_TEXT') return null;
    throw error;
  }
}
