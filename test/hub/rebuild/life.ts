/** The life of one hub process as a test plays it: it may be killed at any of its steps, and does nothing afterwards. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { FileSystem } from '../../../contracts/runtime.ts';

/** What a step meets: `before` its work is done, or after. A killed process does not hear of it. */
export type StepFault = 'none' | 'fail-before' | 'fail-after' | 'kill-before' | 'kill-after';

/** Where a process meets the world that stays when it is killed. */
export type StepName = 'open' | 'apply' | 'check' | 'finish' | 'swap' | 'clear' | 'discard' | 'begin' | 'sweep' | 'file' | 'lease';

export class Life {
  readonly #fault: (step: StepName) => StepFault;
  readonly #failure: (step: StepName) => TidemarkError;
  readonly #killed = Promise.withResolvers<void>();
  #isDead = false;

  constructor(fault: (step: StepName) => StepFault, failure: (step: StepName) => TidemarkError) {
    this.#fault = fault;
    this.#failure = failure;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Resolves when it is killed. */
  get killed(): Promise<void> {
    return this.#killed.promise;
  }

  kill(): void {
    this.#isDead = true;
    this.#killed.resolve();
  }

  /** One step: all of its work or none is done, in one go. @throws TidemarkError when it fails, or the process is dead */
  async step<T>(name: StepName, work: () => T | Promise<T>): Promise<T> {
    await turn();
    this.#mustLive();
    const fault = this.#fault(name);
    if (fault === 'kill-before') this.kill();
    this.#mustLive();
    if (fault === 'fail-before') throw this.#failure(name);
    const done = await work();
    if (fault === 'kill-after') this.kill();
    await turn();
    this.#mustLive();
    if (fault === 'fail-after') throw this.#failure(name);
    return done;
  }

  #mustLive(): void {
    if (this.#isDead) throw new TidemarkError('ABORTED', 'the process was killed', { retry: 'operator' });
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The files as that process writes them: as a whole, or not at all. */
export function mortalFiles(files: FileSystem, life: Life): FileSystem {
  return {
    ...files,
    replace: (path, bytes) => life.step('file', () => files.replace(path, bytes)),
    remove: (path) => life.step('file', () => files.remove(path)),
  };
}

/** The log as that process uses it: its leases end with nothing but a release. */
export function mortalLog(log: SourceLog, life: Life): SourceLog {
  const own: Partial<SourceLog> = {
    lease: (name, offset) => life.step('lease', () => log.lease(name, offset)),
    leaseHorizon: (name) => life.step('lease', () => log.leaseHorizon(name)),
    release: (name) => life.step('lease', () => log.release(name)),
  };
  return new Proxy(log, {
    get(target, property) {
      const mine: unknown = Reflect.get(own, property);
      if (mine !== undefined) return mine;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
