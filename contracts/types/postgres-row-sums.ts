/**
 * Sums over the rows of a table by a Postgres server (`RowsSnapshot.sums`): what a connector and a sink share. One process of
 * the server sums, in statements of about a second over ranges of pages, between which whoever reads can give way.
 */
import { buildImage } from '../row-image.ts';
import { type HashSeed, RowTextHash } from '../row-text-hash.ts';
import type { Clock } from '../runtime.ts';
import type { BucketSum, ChosenBuckets, RowSums, SumsRequest } from '../verify.ts';

/** Runs a statement; every value as text. */
export type RunStatement = (text: string, values?: readonly unknown[]) => Promise<readonly Readonly<Record<string, string | null>>[]>;

/** What holds rows: a table, or a leaf partition. */
interface Leaf {
  /** Qualified and quoted. */
  readonly name: string;
  readonly pages: number;
}

/** How long one statement should take, milliseconds, and how many pages the first one reads. */
const STATEMENT_MS = 1000;
const FIRST_PAGES = 2048;
/** How much more a statement reads than the one before it, at most. */
const GROWTH = 4;

/** Ranges of pages can be read without reading what lies before them. */
const OLDEST = 140_000;
const PROBE_SEED: HashSeed = [0x2545f491, -0x61c88647];
const HALF = 32n;

/** The server's hash of a row. @param columns what is selected, in the order of the images */
function hashSql(columns: readonly string[], [low, high]: HashSeed): string {
  const seed = BigInt.asIntN(64, (BigInt(high) << HALF) | BigInt.asUintN(32, BigInt(low)));
  // A collation that is known to be one of bytes costs no look at it.
  return `pg_catalog.hashtextextended(ROW(${columns.join(', ')})::pg_catalog.text COLLATE pg_catalog."C", '${seed}'::pg_catalog.int8)`;
}

/** A condition that holds for the rows of some buckets. */
export function inBucketsSql(columns: readonly string[], { seed, buckets, chosen }: ChosenBuckets): string {
  return `(${hashSql(columns, seed)} & ${buckets - 1}) = ANY ('{${chosen.join(',')}}'::pg_catalog.int8[])`;
}

/**
 * Whether the server hashes as `RowTextHash` does, and can be read by ranges of pages: seen by its version and encoding, and
 * by trying texts of all short lengths, with every byte that UTF-8 can have (which of them are white space to a server is a
 * matter of its locale). The session must not be in a transaction, and print canonical text.
 * @throws what `run` throws
 */
export async function sumsRows(run: RunStatement): Promise<boolean> {
  const [server] = await run(`SELECT pg_catalog.current_setting('server_version_num') AS version, pg_catalog.current_setting('server_encoding') AS encoding`);
  if (server?.['encoding'] !== 'UTF8' || !(Number(server['version']) >= OLDEST)) return false;
  const texts = probeTexts();
  const hash = hashSql(['t', 'NULL::pg_catalog.text', `pg_catalog.convert_to(t, 'UTF8')`], PROBE_SEED);
  const [row] = await run(
    `SELECT pg_catalog.string_agg(${hash}::pg_catalog.text, ',' ORDER BY n) AS hashes FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS u(t, n)`,
    [texts],
  );
  const own = new RowTextHash(PROBE_SEED);
  const expected = texts.map((text) => {
    const image = buildImage([text, null, Buffer.from(text)]);
    own.row(new DataView(image.buffer, image.byteOffset, image.length), 0, 0, image.length);
    return String(BigInt.asIntN(64, (BigInt(own.high) << HALF) | BigInt.asUintN(32, BigInt(own.low))));
  });
  return row?.['hashes'] === expected.join(',');
}

function probeTexts(): string[] {
  const texts = Array.from({ length: 41 }, (_, length) => 'The quick brown fox jumps over the lazy dog'.slice(0, length));
  // All leads of two bytes, three, four, and all bytes that follow.
  for (let code = 1; code < 0x800; code += code < 0x100 ? 1 : 0x40) texts.push(String.fromCodePoint(code));
  for (let code = 0x900; code < 0x10ffff; code += code < 0xf000 ? 0x1000 : 0x10000) if (code < 0xd800 || code > 0xdfff) texts.push(String.fromCodePoint(code));
  return texts;
}

export interface RowSumsParts {
  /** Under the snapshot, the tables locked. */
  readonly run: RunStatement;
  /** Sees what is there now. */
  readonly look: RunStatement;
  /** OIDs of what holds the rows. */
  readonly leaves: readonly (string | number)[];
  /** What is selected, in the order of the schema. */
  readonly columns: readonly string[];
  readonly request: SumsRequest;
  readonly clock: Clock;
  /** What the first statement reads. Default: 2,048 pages. */
  readonly firstPages?: number;
  /** The SQLSTATE of an error that `run` threw; null: it is not the server's. */
  readonly stateOf: (error: unknown) => string | null;
}

/**
 * Sums over all rows, bit by bit; null: the server cannot sum these, and its transaction may have failed.
 * @throws what `run` and `look` throw
 */
export async function* sumRows(parts: RowSumsParts): AsyncGenerator<RowSums | null, void, void> {
  const leaves = await leavesOf(parts);
  if (leaves === null) {
    yield null;
    return;
  }
  try {
    // The planner's guess must be the range, and a statement of a second is no work for a compiler.
    await parts.run('SET LOCAL enable_tidscan = on');
    await parts.run('SET LOCAL jit = off');
    for (const leaf of leaves) yield* sumLeaf(parts, leaf);
  } catch (error) {
    if (!isBeyond(parts.stateOf(error))) throw error;
    yield null;
  }
}

/** Rows that are too long as text, or to be held beside others; a leaf that may only be read by way of its table. */
function isBeyond(state: string | null): boolean {
  return state !== null && (state.startsWith('54') || state === '53200' || state === 'XX000' || state === '42501');
}

async function* sumLeaf({ run, columns, request, clock, firstPages = FIRST_PAGES }: RowSumsParts, { name, pages }: Leaf): AsyncGenerator<RowSums, void, void> {
  const hash = hashSql(columns, request.seed);
  let size = firstPages;
  for (let from = 0; from < pages || from === 0; ) {
    const to = from + size;
    // What is behind the last page has come after the snapshot.
    const end = to >= pages ? '' : ` AND ctid < '(${to},0)'::pg_catalog.tid`;
    const began = clock.monotonic();
    const range = `FROM ONLY ${name} WHERE ctid >= '(${from},0)'::pg_catalog.tid${end}`;
    const rows = await run(request.buckets === 1 ? wholeSql(hash, range) : groupedSql(hash, range, request.buckets));
    const took = clock.monotonic() - began;
    yield sumsOf(rows);
    from = to;
    size = Math.max(1, Math.round(size * Math.min(GROWTH, STATEMENT_MS / Math.max(took, 1))));
  }
}

function wholeSql(hash: string, range: string): string {
  return `SELECT '0' AS bucket, pg_catalog.count(*)::pg_catalog.text AS rows, pg_catalog.sum(${hash})::pg_catalog.text AS sum ${range}`;
}

/** OFFSET 0 keeps the hash from being worked out twice. */
function groupedSql(hash: string, range: string, buckets: number): string {
  return `SELECT (h & ${buckets - 1})::pg_catalog.text AS bucket, pg_catalog.count(*)::pg_catalog.text AS rows, pg_catalog.sum(h)::pg_catalog.text AS sum
            FROM (SELECT ${hash} AS h ${range} OFFSET 0) AS hashed GROUP BY h & ${buckets - 1}`;
}

function sumsOf(found: Awaited<ReturnType<RunStatement>>): RowSums {
  let total = 0;
  const sums: BucketSum[] = found.map(({ bucket, rows, sum }) => {
    const whole = BigInt(sum ?? '0');
    total += Number(rows);
    return { bucket: Number(bucket), rows: Number(rows), low: Number(BigInt.asIntN(32, whole)), high: Number(BigInt.asIntN(32, whole >> HALF)) };
  });
  return { rows: total, sums };
}

/** Null: one of them cannot be read by ranges of pages, or not by itself. */
async function leavesOf({ look, leaves }: RowSumsParts): Promise<readonly Leaf[] | null> {
  const rows = await look(
    `SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS name,
            (pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::pg_catalog.int8)::pg_catalog.text AS pages,
            (c.relkind = 'r' AND a.amname = 'heap')::pg_catalog.text AS plain
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam
      WHERE c.oid = ANY ($1::pg_catalog.oid[])`,
    [`{${leaves.join(',')}}`],
  );
  if (rows.length !== leaves.length || rows.some(({ plain }) => plain !== 'true')) return null;
  return rows.map(({ name, pages }) => ({ name: name ?? '', pages: Number(pages) }));
}
