import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { MysqlServer } from '../test/fixtures/mysql.ts';

/** Seconds from the start until the consumer has counted every change; its process has loaded its code before. */
export async function countByZongji(source: MysqlServer, after: string, changes: number): Promise<number> {
  const child = fork(join(import.meta.dirname, 'zongji-entry.ts'), [String(source.port), after, String(changes)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ended = once(child, 'exit');
  const answered = async (): Promise<void> => {
    const first = await Promise.race([once(child, 'message'), ended.then(() => null)]);
    if (first === null) throw new Error('zongji ended without having read the backlog');
  };
  try {
    await answered();
    const started = performance.now();
    child.send('start');
    await answered();
    return (performance.now() - started) / 1000;
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}
