import { expect, test } from 'vitest';
import { EventHeader } from '../../../../connectors/mysql/binlog/event-header.ts';
import { parseGtid } from '../../../../connectors/mysql/binlog/gtid-events.ts';

test('a transaction that a server has replicated has two times', () => {
  // Of a replica of 9.7.4.
  const event = Buffer.from(
    '2960026b2113e1611c56000000b60300000000' + '00102abd9ae62411f1baf902fc00000001' + '0400000000000000' + '02' + '0200000000000000' + '0400000000000000' +
    '9e67d7ffd46086' + '02a4d6ffd46006' + 'fc8d01' + '50620100' + '2b1f9a0c', 'hex');
  expect(parseGtid(new EventHeader().read(event, 0, event.length, 4), event)).toMatchObject({
    number: 4, commitTime: 1_795_317_801_904_030, originalCommitTime: 1_795_317_801_853_954, length: 0x18d, originalVersion: 90_704,
  });
});
