/**
 * Partitions that come and go without row events. A new partition that was created as one is empty or was filled through
 * its root; anything else (attached, detached, dropped, truncated alone, rewritten) may have changed rows.
 */
import type { Session } from '../session.ts';

/** `oid:file` of each leaf, as the catalog query lists them. */
export function storageChange(before: string, after: string): { readonly added: readonly number[]; readonly other: boolean } {
  const files = (storage: string): Map<number, string> =>
    new Map(storage.split(',').filter((part) => part !== '').map((part) => {
      const [oid = '', file = ''] = part.split(':');
      return [Number(oid), file];
    }));
  const old = files(before);
  const now = files(after);
  const added = [...now.keys()].filter((oid) => !old.has(oid));
  const other = [...old].some(([oid, file]) => now.get(oid) !== file);
  return { added, other };
}

/**
 * True when the difference is only partitions made by CREATE TABLE ... PARTITION OF, in which no row of the creating
 * transaction stands: such a row could have been written before the table was a partition.
 */
export async function newPartitionsHarmless(session: Session, before: string, after: string): Promise<boolean> {
  if (before === after) return true;
  const { added, other } = storageChange(before, after);
  if (other) return false;
  for (const oid of added) if (!(await bornAsPartition(session, oid))) return false;
  return true;
}

/** The row type is made with the table and never touched again; the inheritance is made when it becomes a partition. */
async function bornAsPartition(session: Session, oid: number): Promise<boolean> {
  const [row] = await session.query(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name, i.xmin::text AS attached, t.xmin::text AS made
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_type t ON t.typrelid = c.oid
      WHERE c.oid = $1 AND c.relkind = 'r'`,
    [oid],
  );
  if (row === undefined || row['attached'] !== row['made']) return false;
  const rows = await session.query(`SELECT 1 FROM ${row['name']} WHERE xmin::text = $1 LIMIT 1`, [row['made']]);
  return rows.length === 0;
}
