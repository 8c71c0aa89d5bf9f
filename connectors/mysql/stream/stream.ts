/** The changes of a MySQL or MariaDB source: one connection that gets the binlog, and one ordinary session for the catalog. */
import type { StreamStart } from '../../../contracts/connector.ts';
import { SingleStream, type Opened } from '../../relational/single-stream.ts';
import { findServer } from '../find-server.ts';
import { readablePrepared, readBinlogEnd, type ServerIdentity } from '../identity.ts';
import { decodePlace, type BinlogPlace } from '../position.ts';
import type { Session } from '../session.ts';
import { LiveStream, type StreamParts } from './live-stream.ts';

export class MysqlStream extends SingleStream {
  constructor(parts: StreamParts, start: StreamStart, signal: AbortSignal) {
    super({
      open: (either, owned) => open(parts, start, either, owned),
      closed: () => parts.runs(null),
      ended: () => parts.report({ connected: false, waitingFor: '' }),
    }, signal);
  }
}

/** Connects, checks that the stream may go on where the log is, and begins. What is opened is owned by `owned`. */
async function open(parts: StreamParts, start: StreamStart, signal: AbortSignal, owned: AsyncDisposableStack): Promise<Opened> {
  const { endpoint, report, runs, track } = parts;
  report({ connected: false, waitingFor: 'a connection' });
  const known = start.position === null ? (parts.begin()?.place ?? null) : decodePlace(start.position);
  const { session, identity } = await findServer(endpoint, known, signal);
  owned.use(session);
  const place = await placeAt(session, identity, known);
  const tracking = await track(session, identity);
  const live = new LiveStream(parts, start, { session, identity, place, tracking }, signal);
  await runs(live);
  await live.begin(owned);
  return { live, batches: live.outlet };
}

/** Where to begin, as that server has it; at its end where nothing is known. */
async function placeAt(session: Session, identity: ServerIdentity, known: BinlogPlace | null): Promise<BinlogPlace> {
  const place = known ?? (await readBinlogEnd(session, identity)).place;
  const prepared = await readablePrepared(session, identity, place);
  return prepared.length === (place.prepared?.length ?? 0) ? place : { ...place, prepared };
}
