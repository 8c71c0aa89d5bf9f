/** Sinks that misbehave on command: wrappers around a real one. Disposing a wrapper disposes the real one. */
import { TidemarkError } from '../errors/error.ts';
import type { Offset } from '../offset.ts';
import type { Applying, Sink, SinkBatch } from '../sink.ts';
import { createGate, type Gate } from './gate.ts';

/** True for the batches that a fault strikes. */
export type Strikes = (batch: SinkBatch) => boolean;

/** The batch never reaches the sink; `SINK_UNREACHABLE`. */
export function rejectWork(sink: Sink, strikes: Strikes): Sink {
  return wrapped(sink, (batch, signal) => (strikes(batch) ? failed('rejected before the work') : sink.apply(batch, signal)));
}

/** The sink does all of the work, and then the answer is lost; `SINK_UNREACHABLE`. */
export function failAfterWork(sink: Sink, strikes: Strikes): Sink {
  return wrapped(sink, (batch, signal) => {
    const { accepted, durable } = sink.apply(batch, signal);
    if (!strikes(batch)) return { accepted, durable };
    const lost = durable.then(() => {
      throw unreachable('failed after the work was done');
    });
    return guarded(accepted, lost);
  });
}

/** The sink has no batch before `before` has resolved: a slow sink, by whatever clock the caller waits with. */
export function slowWork(sink: Sink, before: (batch: SinkBatch) => Promise<void>): Sink {
  return wrapped(sink, (batch, signal) => {
    const begun = before(batch).then(() => sink.apply(batch, signal));
    return guarded(begun.then((applying) => applying.accepted), begun.then((applying) => applying.durable));
  });
}

/** A sink whose batches wait between `hold` and `go`. */
export type HeldSink = Sink & Gate;

export function holdWork(sink: Sink): HeldSink {
  const gate = createGate();
  const slow = slowWork(sink, gate.pass);
  return {
    ...slow,
    hold: gate.hold,
    go: gate.go,
    get waiting() {
      return gate.waiting;
    },
  };
}

/** `cut` is called once the sink has the batch, while it works on it: a connection that breaks in the middle. */
export function cutDuringWork(sink: Sink, strikes: Strikes, cut: () => void): Sink {
  return wrapped(sink, (batch, signal) => {
    const applying = sink.apply(batch, signal);
    if (strikes(batch)) cut();
    return applying;
  });
}

function wrapped(sink: Sink, apply: (batch: SinkBatch, signal: AbortSignal) => Applying): Sink {
  return {
    kind: sink.kind,
    ...(sink.limits === undefined ? {} : { limits: sink.limits }),
    inPlace: sink.inPlace,
    check: (tables, signal) => sink.check(tables, signal),
    open: (start, signal) => sink.open(start, signal),
    apply,
    [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
  };
}

function failed(what: string): Applying {
  return guarded(Promise.reject(unreachable(what)), Promise.reject(unreachable(what)));
}

/** Rejections are the caller's to see; one who looks at only one of the two must not be killed by the other. */
function guarded(accepted: Promise<void>, durable: Promise<Offset>): Applying {
  accepted.catch(() => undefined);
  durable.catch(() => undefined);
  return { accepted, durable };
}

function unreachable(what: string): TidemarkError {
  return new TidemarkError('SINK_UNREACHABLE', what);
}
