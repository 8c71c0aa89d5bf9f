import { copyOut } from '../../../contracts/types/postgres-copy-out.ts';
import { CopyTextDecoder } from '../../../contracts/types/postgres-copy-text.ts';
import type { CopierDeps, DescribedTable } from './copier-deps.ts';
import type { Spool } from '../../relational/spooled-chunk.ts';
import { postgresError } from '../errors.ts';
import type { Session } from '../session.ts';

/**
 * Runs a COPY and spools its rows as records, until it ends or the spool is full (`enough`: the session is then only good
 * for disposing).
 * @param bufferBytes of each piece of the spool, where rows are not longer; by default a whole batch
 */
export async function fillSpool(
  deps: CopierDeps,
  session: Session,
  spool: Spool,
  table: DescribedTable,
  statement: string,
  bufferBytes?: number,
): Promise<'ended' | 'enough'> {
  const decoder = new CopyTextDecoder(
    { actions: table.actions, key: table.schema.key, width: table.width, hash: (value) => deps.hash(value) },
    (records, count) => spool.add(records, count),
    bufferBytes,
  );
  const how = await copyOut({ client: session.client, toError: postgresError }, statement, (row) => {
    decoder.row(row);
    return !spool.isFull;
  });
  decoder.flush();
  return how;
}
