import { describe } from 'vitest';
import type { LogEngine } from '../log-engine.ts';
import { catalogTests } from './log-engine-kit-catalog.ts';
import { foldTests } from './log-engine-kit-fold.ts';
import { readTests } from './log-engine-kit-read.ts';
import { stateTests } from './log-engine-kit-state.ts';
import { writeTests } from './log-engine-kit-write.ts';

/** A place where an engine keeps its logs; every test gets a fresh one. */
export interface LogEngineFixture extends AsyncDisposable {
  /** An engine over the place. The kit disposes it, and may then ask for another one over the same logs. */
  open(): Promise<LogEngine>;
}

/**
 * Declares the tests that every log engine must pass: total order, contiguity, the high watermark, whole transactions
 * across batches, rollback, epochs, plans, tailing, abort, reopening, folding; at the end random work against the reference log.
 */
export function logEngineKit(name: string, makeFixture: () => Promise<LogEngineFixture>): void {
  describe(`log engine: ${name}`, () => {
    writeTests(makeFixture);
    readTests(makeFixture);
    stateTests(makeFixture);
    catalogTests(makeFixture);
    foldTests(makeFixture);
  });
}
