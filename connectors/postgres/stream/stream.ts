/** The changes of a Postgres source: one replication connection, and one ordinary session for the catalog. */
import type { StreamStart } from '../../../contracts/connector.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { SingleStream, type Opened } from '../../relational/single-stream.ts';
import { text } from '../catalog/catalog-query.ts';
import { LiveStream, type StreamParts } from './live-stream.ts';
import { lsnOfPosition, PositionWriter } from '../position.ts';
import { ReplicationConnection } from './replication.ts';
import { readIdentity } from '../catalog/server-identity.ts';
import { readSlot, slotFault } from '../slot.ts';

export class PostgresStream extends SingleStream {
  constructor(parts: StreamParts, start: StreamStart, signal: AbortSignal) {
    super({
      open: (either, owned) => open(parts, start, either, owned),
      closed: () => parts.reads(null),
      ended: () => parts.report({ connected: false, waitingFor: '', head: null }),
    }, signal);
  }
}

/** Connects, checks that the stream may go on where the log is, and starts. What is opened is owned by `owned`. */
async function open(parts: StreamParts, start: StreamStart, signal: AbortSignal, owned: AsyncDisposableStack): Promise<Opened> {
  const { endpoint, options } = parts;
  parts.report({ connected: false, waitingFor: 'a connection', head: null });
  const session = owned.use(await endpoint.open(signal));
  await parts.reads(session.host);
  const identity = await readIdentity(session);
  const slot = await readSlot(session, options.slot);
  if (slot === null) throw new TidemarkError('POSTGRES_SLOT_MISSING', `there is no slot ${options.slot}`);
  const position = start.position === null ? null : lsnOfPosition(start.position);
  const [database] = await session.query('SELECT current_database() AS name');
  const fault = slotFault(slot, text(database ?? {}, 'name'), position);
  if (fault !== null) throw fault;
  const from = position ?? slot.confirmed ?? 0;
  const live = new LiveStream(parts, start, session, { positions: new PositionWriter(identity), from, hasPosition: position !== null });
  const connection = new ReplicationConnection(await endpoint.wire(session.host));
  owned.defer(() => connection.close());
  await live.begin(connection, session, signal, owned);
  return { live, batches: live.intake };
}
