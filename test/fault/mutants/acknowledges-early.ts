/** Loaded into a hub's process: tells the source that more is durable than is. */
import { ReplicationConnection } from '../../../connectors/postgres/replication.ts';

const right = ReplicationConnection.prototype.sendStatus;

ReplicationConnection.prototype.sendStatus = function sendStatus(this: ReplicationConnection, durable, reply, now) {
  right.call(this, durable + 100_000, reply, now);
};
