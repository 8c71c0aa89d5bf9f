/** What statements and table maps of a binlog do not say of the server that wrote them. */
import { fullCharsetName } from '../ddl/data-type.ts';
import type { ServerIdentity } from '../identity.ts';
import { isAtLeast, type Flavor } from '../server-version.ts';
import type { Session } from '../session.ts';

export interface ServerFacts {
  readonly flavor: Flavor;
  /** `lower_case_table_names` is 1 or 2. */
  readonly lowerCaseNames: boolean;
  /** Names of collations, by the id that query events carry. */
  readonly collations: ReadonlyMap<number, string>;
}

/** At the server that the stream comes from. @throws TidemarkError when it cannot be asked */
export async function readServerFacts(session: Session, { version, settings }: ServerIdentity): Promise<ServerFacts> {
  const hasFullNames = version.flavor === 'mariadb' && isAtLeast(version, 10, 10, 1);
  const rows = await session.query(
    hasFullNames
      ? 'SELECT ID AS id, FULL_COLLATION_NAME AS name FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE ID IS NOT NULL'
      : 'SELECT ID AS id, COLLATION_NAME AS name FROM information_schema.COLLATIONS WHERE ID IS NOT NULL',
  );
  return {
    flavor: version.flavor,
    lowerCaseNames: (settings.get('lower_case_table_names') ?? '0') !== '0',
    collations: new Map(rows.map((row) => [Number(row['id']), fullCharsetName(row['name'] ?? '')])),
  };
}
