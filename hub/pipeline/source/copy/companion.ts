import type { Runtime } from '../../../../contracts/runtime.ts';
import type { CompanionContext, StreamCompanion } from '../capture.ts';
import type { Copies } from './copies.ts';
import type { RepairSet } from './session.ts';

/** Copies tables beside a stream, for as long as it lives: each stream is a session of the copies. */
export class CopyCompanion implements StreamCompanion {
  readonly #copies: Copies;
  readonly #repair: RepairSet;
  readonly #directory: string;
  readonly #runtime: Runtime;

  /** @param directory for sorted runs; used by the copies of this source alone */
  constructor(parts: { copies: Copies; repair: RepairSet; directory: string; runtime: Runtime }) {
    this.#copies = parts.copies;
    this.#repair = parts.repair;
    this.#directory = parts.directory;
    this.#runtime = parts.runtime;
  }

  async accompany(context: CompanionContext, signal: AbortSignal): Promise<void> {
    const { connector, log, turns, announce } = context;
    await this.#copies.run(
      {
        source: log.source,
        turns,
        log,
        copier: connector.copier(),
        repair: this.#repair,
        tables: (stop) => connector.tables(stop),
        announce,
        runtime: this.#runtime,
        directory: this.#directory,
      },
      signal,
    );
  }
}
