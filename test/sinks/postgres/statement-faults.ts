import pg from 'pg';
import { vi } from 'vitest';

/** What happens to the process, or to the server, at one of the statements. */
export type Fault = 'killed before' | 'killed after' | 'server crash';

/** Counts the statements of a sink's sessions (a pipeline is one), and lets the fault happen at the n-th. */
export class StatementFaults {
  readonly #at: number;
  readonly #fault: Fault;
  readonly #restart: () => Promise<void>;
  #count = 0;
  /** The server is back after a crash. */
  restarted: Promise<void> = Promise.resolve();
  happened = false;

  /** In force until `vi.restoreAllMocks`. @param restart crashes the server and starts it again */
  constructor(at: number, fault: Fault, restart: () => Promise<void>) {
    this.#at = at;
    this.#fault = fault;
    this.#restart = restart;
    const original = Reflect.get(pg.Client.prototype, 'query') as (this: pg.Client, ...args: unknown[]) => unknown;
    const strike = (client: pg.Client): void => this.#strike(client);
    const isNext = (client: pg.Client): boolean => this.#isNext(client);
    const isAfter = fault !== 'killed before';
    vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...args: unknown[]) {
      const next = isNext(this);
      if (next && !isAfter) strike(this);
      const answer = Reflect.apply(original, this, args);
      if (next && isAfter) strike(this);
      return answer as never;
    });
  }

  #isNext(client: pg.Client): boolean {
    if (this.happened || !isOurs(client)) return false;
    this.#count++;
    return this.#count === this.#at;
  }

  #strike(client: pg.Client): void {
    this.happened = true;
    if (this.#fault === 'server crash') this.restarted = this.#restart();
    // What was written has been handed to the socket; nobody reads the answer any more.
    else if (this.#fault === 'killed after') client.connection.stream.end(() => client.connection.stream.destroy());
    else client.connection.stream.destroy();
  }
}

function isOurs(client: pg.Client): boolean {
  const { connectionParameters } = client as unknown as { connectionParameters: { application_name?: string } };
  return connectionParameters.application_name?.startsWith('tidemark') ?? false;
}
