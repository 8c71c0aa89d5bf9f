import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeHubConfig } from '../test/fixtures/hub-process.ts';
import { peakRssMb } from './rss.ts';

/** What the bench asks of the process with the hub in it (hub-entry.ts); each is answered once. */
export type Ask =
  | { readonly kind: 'start' }
  /** Until the sink has applied the source's position. */
  | { readonly kind: 'wait'; readonly sink: string; readonly position: string }
  /** Until the sink has applied this offset, which is in the log. */
  | { readonly kind: 'wait-offset'; readonly sink: string; readonly offset: number }
  /** Until every source is copied and every sink has applied it. */
  | { readonly kind: 'caught-up' }
  /** The last offset of the source's log. */
  | { readonly kind: 'offset'; readonly source: string }
  /** Until the source's log is durable up to this offset, which may be still to come. */
  | { readonly kind: 'durable'; readonly source: string; readonly offset: number }
  /** Folds as much of the source's history into the base as can be; answers the horizon. */
  | { readonly kind: 'compact'; readonly source: string }
  /** Source = log = sink; answers the rows compared, and fails when any differs. */
  | { readonly kind: 'verify'; readonly sink: string }
  | { readonly kind: 'stop' };

export type Answer = { readonly ok: true; readonly offset: number } | { readonly ok: false; readonly error: string };

/**
 * A hub in a process of its own, that has loaded its code and waits for `start`, so that what is measured is the hub's
 * work and not the start of Node.
 */
export interface TidemarkProcess extends AsyncDisposable {
  start(): Promise<void>;
  reached(sink: string, position: string): Promise<number>;
  reachedOffset(sink: string, offset: number): Promise<number>;
  caughtUp(): Promise<void>;
  offset(source: string): Promise<number>;
  durable(source: string, offset: number): Promise<number>;
  compact(source: string): Promise<number>;
  verify(sink: string): Promise<number>;
  peakRssMb(): Promise<number>;
  /** Drains and ends. */
  stop(): Promise<void>;
}

export interface TidemarkProcessOptions {
  /** Holds configuration and data; made if it is not there. */
  readonly directory: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly profile: string | null;
}

const entry = join(import.meta.dirname, 'hub-entry.ts');

export async function openTidemark(options: TidemarkProcessOptions): Promise<TidemarkProcess> {
  await mkdir(options.directory, { recursive: true });
  const file = await writeHubConfig(options.directory, options.config);
  const execArgv = options.profile === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profile}`];
  const child = fork(entry, [file], { cwd: options.directory, execArgv, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const process = new ForkedHub(child);
  await process.answer();
  return process;
}

class ForkedHub implements TidemarkProcess {
  readonly #child: ChildProcess;

  constructor(child: ChildProcess) {
    this.#child = child;
  }

  async start(): Promise<void> {
    await this.#ask({ kind: 'start' });
  }

  async reached(sink: string, position: string): Promise<number> {
    return this.#ask({ kind: 'wait', sink, position });
  }

  async reachedOffset(sink: string, offset: number): Promise<number> {
    return this.#ask({ kind: 'wait-offset', sink, offset });
  }

  async caughtUp(): Promise<void> {
    await this.#ask({ kind: 'caught-up' });
  }

  async offset(source: string): Promise<number> {
    return this.#ask({ kind: 'offset', source });
  }

  async durable(source: string, offset: number): Promise<number> {
    return this.#ask({ kind: 'durable', source, offset });
  }

  async compact(source: string): Promise<number> {
    return this.#ask({ kind: 'compact', source });
  }

  async verify(sink: string): Promise<number> {
    return this.#ask({ kind: 'verify', sink });
  }

  peakRssMb(): Promise<number> {
    return peakRssMb(this.#child.pid ?? 0);
  }

  async stop(): Promise<void> {
    const exit = once(this.#child, 'exit');
    await this.#ask({ kind: 'stop' });
    await exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }

  /** The next answer. The process says so too when it is ready for the first question. */
  async answer(): Promise<number> {
    const controller = new AbortController();
    const exit = once(this.#child, 'exit', { signal: controller.signal }).then(() => null);
    const message = once(this.#child, 'message', { signal: controller.signal });
    try {
      const got: unknown = await Promise.race([message, exit]);
      const answer: unknown = Array.isArray(got) ? got[0] : null;
      if (!isAnswer(answer)) throw new Error('the process with the hub ended without an answer');
      if (!answer.ok) throw new Error(answer.error);
      return answer.offset;
    } finally {
      controller.abort();
      await Promise.allSettled([exit, message]);
    }
  }

  #ask(ask: Ask): Promise<number> {
    const answer = this.answer();
    this.#child.send(ask);
    return answer;
  }
}

function isAnswer(value: unknown): value is Answer {
  return typeof value === 'object' && value !== null && 'ok' in value && (value.ok === true ? 'offset' in value : 'error' in value);
}
