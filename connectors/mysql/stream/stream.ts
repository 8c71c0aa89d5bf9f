/** The changes of a MySQL or MariaDB source: one connection that gets the binlog, and one ordinary session for the catalog. */
import type { StreamStart } from '../../../contracts/connector.ts';
import { SingleStream, type Opened } from '../../relational/single-stream.ts';
import { checkPlace, readablePrepared, readBinlogEnd, readIdentity, type ServerIdentity } from '../identity.ts';
import { decodePlace, type BinlogPlace } from '../position.ts';
import { requireRowBinlog } from '../requirements.ts';
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
  const session = owned.use(await endpoint.open(signal));
  const identity = await readIdentity(session);
  requireRowBinlog(identity);
  const place = await placeOf(parts, start, session, identity);
  const tracking = await track(session, identity);
  const live = new LiveStream(parts, start, { session, identity, place, tracking }, signal);
  await runs(live);
  await live.begin(owned);
  return { live, batches: live.outlet };
}

/** Where to begin, as that server has it. */
async function placeOf(parts: StreamParts, start: StreamStart, session: Session, identity: ServerIdentity): Promise<BinlogPlace> {
  const known = start.position === null ? (parts.begin()?.place ?? null) : decodePlace(start.position);
  const place = known ?? (await readBinlogEnd(session, identity)).place;
  if (known !== null) await checkPlace(session, identity, place);
  const prepared = await readablePrepared(session, identity, place);
  return prepared.length === (place.prepared?.length ?? 0) ? place : { ...place, prepared };
}
