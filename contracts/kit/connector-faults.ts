/** Connectors that misbehave on command: wrappers around a real one. Disposing a wrapper disposes the real one. */
import type { ChangeBatch } from '../change-batch.ts';
import type { ChangeStream, SourceConnector } from '../connector.ts';
import { TidemarkError } from '../errors/error.ts';
import { createGate, type Gate } from './gate.ts';
import type { Position } from '../position.ts';

/** True for the batches that a fault strikes; `index` counts the batches of one stream from 0. */
export type StrikesBatch = (batch: ChangeBatch, index: number) => boolean;

/** `prepare` never reaches the source while `strikes` says so; `POSTGRES_UNREACHABLE` or the error given. */
export function rejectPrepare(connector: SourceConnector, strikes: () => boolean, error: TidemarkError = cutError('rejected before the work')): SourceConnector {
  return wrapped(connector, {
    prepare: (start, signal) => (strikes() ? Promise.reject(error) : connector.prepare(start, signal)),
  });
}

/** `prepare` does all of its work, and then the answer is lost. */
export function failAfterPrepare(connector: SourceConnector, strikes: () => boolean): SourceConnector {
  return wrapped(connector, {
    prepare: async (start, signal) => {
      await connector.prepare(start, signal);
      if (strikes()) throw cutError('failed after the work was done');
    },
  });
}

/** The stream breaks instead of giving a batch that `strikes` names: the batch is lost, as with a cut connection. */
export function cutStream(connector: SourceConnector, strikes: StrikesBatch): SourceConnector {
  return perBatch(connector, (batch, index) => {
    if (strikes(batch, index)) throw cutError('the connection was cut');
    return Promise.resolve();
  });
}

/** The stream breaks once the consumer has a batch that `strikes` names and asks for the next. */
export function failAfterBatch(connector: SourceConnector, strikes: StrikesBatch): SourceConnector {
  let broken = false;
  return perBatch(connector, (batch, index) => {
    if (index === 0) broken = false;
    if (broken) throw cutError('the connection was cut after a batch');
    broken = strikes(batch, index);
    return Promise.resolve();
  });
}

/** A batch is given only when `before` has resolved: a slow source, by whatever clock the caller waits with. */
export function slowStream(connector: SourceConnector, before: (batch: ChangeBatch) => Promise<void>): SourceConnector {
  return perBatch(connector, (batch) => before(batch));
}

/** A connector whose batches wait between `hold` and `go`. */
export type HeldConnector = SourceConnector & Gate;

export function holdStream(connector: SourceConnector): HeldConnector {
  const gate = createGate();
  const slow = slowStream(connector, gate.pass);
  return {
    ...slow,
    hold: gate.hold,
    go: gate.go,
    get waiting() {
      return gate.waiting;
    },
  };
}

function perBatch(connector: SourceConnector, before: (batch: ChangeBatch, index: number) => Promise<void>): SourceConnector {
  return wrapped(connector, {
    stream: (start, signal) => {
      const inner = connector.stream(start, signal);
      const stream: ChangeStream = {
        acknowledge: (progress) => inner.acknowledge(progress),
        requestProgress: () => inner.requestProgress(),
        announce: (tables) => inner.announce(tables),
        [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
        async *[Symbol.asyncIterator]() {
          let index = 0;
          for await (const batch of inner) {
            await before(batch, index++);
            yield batch;
          }
        },
      };
      return stream;
    },
  });
}

function wrapped(connector: SourceConnector, faults: Partial<SourceConnector>): SourceConnector {
  const release = connector.release === undefined ? {} : { release: async (signal: AbortSignal): Promise<void> => connector.release?.(signal) };
  const same =
    connector.isSameSystem === undefined
      ? {}
      : { isSameSystem: async (position: Position, signal: AbortSignal): Promise<boolean> => (await connector.isSameSystem?.(position, signal)) ?? true };
  return {
    positions: connector.positions,
    check: (signal) => connector.check(signal),
    prepare: (start, signal) => connector.prepare(start, signal),
    stream: (start, signal) => connector.stream(start, signal),
    tables: (signal) => connector.tables(signal),
    copier: () => connector.copier(),
    ...release,
    ...same,
    status: (signal) => connector.status(signal),
    [Symbol.asyncDispose]: () => connector[Symbol.asyncDispose](),
    ...faults,
  };
}

function cutError(what: string): TidemarkError {
  return new TidemarkError('POSTGRES_UNREACHABLE', what);
}
