import { expect, test } from 'vitest';
import { WaitingSince } from '../../../../hub/pipeline/sink/waiting-since.ts';
import { delivering } from './delivering.ts';
import { MemorySink } from './memory-sink.ts';

const change = (key: number) => [{ table: 1, key, value: key }, { table: 1, key: key + 100, value: key }];

test('the first transaction behind an offset says since when, also where the offset is amid a batch', async () => {
  await using test = await delivering(new MemorySink());
  const first = await test.source.commit(change(1));
  const second = await test.source.commit(change(2));
  await test.source.commit(change(3));
  using waiting = new WaitingSince(test.log, test.runtime.logger);
  // Transactions of this log commit at their number of microseconds.
  for (const [offset, commitTime] of [[first, 2], [second, 3], [first - 1, 1]] as const) {
    expect(waiting.after(offset)).toBeNull();
    await expect.poll(() => waiting.after(offset)).toBe(commitTime);
  }
});

test('where nothing is behind the offset yet, the log is looked at again', async () => {
  await using test = await delivering(new MemorySink());
  const last = await test.source.commit(change(1));
  using waiting = new WaitingSince(test.log, test.runtime.logger);
  expect(waiting.after(last)).toBeNull();
  await test.source.commit(change(2));
  await expect.poll(() => waiting.after(last)).toBe(2);
});
