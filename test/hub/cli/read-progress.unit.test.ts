import { Writable } from 'node:stream';
import { expect, it } from 'vitest';
import type { CliContext } from '../../../hub/cli/context.ts';
import { ReadProgress } from '../../../hub/cli/moments/read-progress.ts';

/** A terminal that remembers what was written to it. */
class Terminal extends Writable {
  readonly isTTY = true;
  readonly columns = 100;
  text = '';

  override _write(chunk: unknown, _encoding: string, done: () => void): void {
    this.text += String(chunk);
    done();
  }
}

function contextOf(stderr: Terminal, stderrIsTty: boolean): CliContext {
  let now = 0;
  return {
    stdout: stderr, stderr, stdoutIsTty: false, stderrIsTty, env: {}, cwd: '/', signal: new AbortController().signal, outcome: { exitCode: 0 },
    registry: () => Promise.resolve({ connectors: [], sinks: [] }), version: '0', now: () => (now += 1000),
  };
}

it('is a bar while the history is read, then a count of the rows, and leaves nothing', () => {
  const terminal = new Terminal();
  const progress = new ReadProgress(contextOf(terminal, true), true);
  progress.show({ of: 'history', done: 250_000, total: 1_000_000 });
  expect(terminal.text).toContain('history █████░░░░░░░░░░░░░░░ 25%  250,000 of 1,000,000 records');
  progress.rows(1200);
  progress.rows(34);
  expect(terminal.text).toMatch(/\r1,200 rows\r1,234 rows$/);
  // The history is over: rows have come.
  progress.show({ of: 'history', done: 1, total: 2 });
  progress[Symbol.dispose]();
  expect(terminal.text).toMatch(/1,234 rows\r\u001b\[K$/);
});

it('is a bar of the rows, too, where it is known about how many there are', () => {
  const terminal = new Terminal();
  const progress = new ReadProgress(contextOf(terminal, true), true);
  progress.show({ of: 'history', done: 1, total: 1 });
  progress.show({ of: 'rows', done: 0, total: 2000 });
  progress.rows(1500);
  expect(terminal.text).toContain('rows ███████████████░░░░░ 75%  1,500 of about 2,000 rows');
  progress.rows(1500);
  progress[Symbol.dispose]();
  expect(terminal.text).not.toMatch(/\r\d/);
});

it('does not count rows on the terminal that they are printed to, and shows nothing where there is none', () => {
  const terminal = new Terminal();
  const printed = new ReadProgress(contextOf(terminal, true), false);
  printed.rows(7);
  printed[Symbol.dispose]();
  const piped = new ReadProgress(contextOf(terminal, false), true);
  piped.show({ of: 'history', done: 1, total: 2 });
  piped.rows(7);
  piped[Symbol.dispose]();
  expect([terminal.text, piped.isShown, printed.isShown]).toEqual(['', false, true]);
});
