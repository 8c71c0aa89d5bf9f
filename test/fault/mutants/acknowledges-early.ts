/** Loaded into a hub's process: tells the source that more is durable than is. */
import { ReplicationConnection } from '../../../connectors/postgres/stream/replication.ts';
import { replaced } from './replaced.ts';

replaced(ReplicationConnection.prototype, 'sendStatus', (right) => function sendStatus(this: ReplicationConnection, durable, reply, now) {
  right.call(this, durable + 100_000, reply, now);
});
