import pg from 'pg';

/** What each table of `public` holds: rows, and a sum over them that does not depend on their order. */
export type Digest = ReadonlyMap<string, string>;

/** A state of the source and the place in its WAL that it stands for: what has been committed before it, and nothing else. */
export interface ReferenceState {
  readonly lsn: string;
  readonly digest: Digest;
}

/**
 * Takes the state of a database at an exact position: a temporary slot exports the snapshot of its consistent point.
 * Waits for the transactions that are open.
 */
export async function referenceState(url: string): Promise<ReferenceState> {
  const slot = await connected(url, { replication: 'database' });
  try {
    const name = `reference_${process.pid}_${Date.now()}`;
    const { rows } = await slot.query<{ consistent_point: string; snapshot_name: string }>(`CREATE_REPLICATION_SLOT ${name} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')`);
    const [made] = rows;
    if (made === undefined) throw new Error('the server made no slot');
    const reader = await connected(url, {});
    try {
      await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      await reader.query(`SET TRANSACTION SNAPSHOT '${made.snapshot_name}'`);
      return { lsn: made.consistent_point, digest: await digestOf(reader) };
    } finally {
      await reader.end();
    }
  } finally {
    await slot.end();
  }
}

/** The digest of a database as it is now, in one snapshot. */
export async function currentDigest(url: string): Promise<Digest> {
  const reader = await connected(url, {});
  try {
    await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    return await digestOf(reader);
  } finally {
    await reader.end();
  }
}

async function digestOf(reader: pg.Client): Promise<Digest> {
  const { rows: tables } = await reader.query<{ name: string; columns: string }>(
    `SELECT c.relname AS name, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname) AS columns
       FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' GROUP BY c.relname ORDER BY c.relname`,
  );
  const digest = new Map<string, string>();
  for (const { name, columns } of tables) {
    const { rows } = await reader.query<{ digest: string }>(
      `SELECT count(*) || ' rows, ' || coalesce(sum(hashtextextended(ROW(${columns})::text, 0)), 0) AS digest FROM public."${name}"`,
    );
    digest.set(name, rows[0]?.digest ?? '');
  }
  return digest;
}

async function connected(url: string, options: pg.ClientConfig & { readonly replication?: string }): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: 'reference', ...options });
  await client.connect();
  if (options.replication === undefined) await client.query("SET extra_float_digits = 3; SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'iso_8601'; SET bytea_output = 'hex'");
  return client;
}
