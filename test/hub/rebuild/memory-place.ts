/** A place with a sink in memory and its shadow, which stay when the hub is killed. */
import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import { asTidemarkError, TidemarkError } from '../../../contracts/errors/error.ts';
import type { Finding } from '../../../contracts/finding.ts';
import type { ShadowRebuild, Swap, SwapProgress } from '../../../contracts/rebuild.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { Applying, BatchLimits, InPlaceRebuild, Sink, SinkBatch, SinkStart } from '../../../contracts/sink.ts';
import { MemorySink } from '../pipeline/sink/memory-sink.ts';
import type { Life } from './life.ts';

/** Of what is replaced. */
const PIECES = 3;

export class MemoryPlace {
  readonly limits: BatchLimits;
  readonly live: MemorySink;
  /** What is left of a rebuild; null: nothing. */
  shadow: MemorySink | null = null;
  /** What swaps have replaced and nobody has removed: so many pieces. */
  replaced = 0;
  /** The steps of `finish` that were done. */
  finished = 0;
  /** Says what is wrong with a rebuild. */
  findings: readonly Finding[] = [];
  /** Called whenever the live rows may have changed. */
  onChange: () => void = () => undefined;
  /** Keys whose rows the shadow refuses; those that the sink itself refuses are its own. */
  readonly refused = new Set<string>();
  /** Called when the shadow has taken the sink's place. */
  onSwap: () => void = () => undefined;
  /** Keys that were there before a rebuild in place and were not written by it; null: none is under way. */
  stale: Set<string> | null = null;
  swaps = 0;
  /** Why it is rebuilt in place, though it has a shadow. */
  unfit: string | null = null;

  constructor(limits: BatchLimits) {
    this.limits = limits;
    this.live = new MemorySink(limits);
    const { rows } = this.live;
    const set = rows.set.bind(rows);
    rows.set = (key, row) => {
      this.stale?.delete(key);
      return set(key, row);
    };
  }

  /** What one life of the hub sees of it. */
  sink(life: Life, way: 'shadow' | 'in-place' | 'either'): Sink {
    const live = new MortalSink(this.live, life, () => this.onChange());
    if (way !== 'in-place') live.withShadow(new MemoryShadow(this, live, life, way === 'shadow'));
    return way === 'shadow' ? live : live.withInPlace(new MemoryInPlace(this, life));
  }
}

/** A sink in memory for one life: what it is asked after its death does nothing. */
class MortalSink implements Sink {
  readonly kind = 'state';
  readonly limits: BatchLimits;
  inPlace: InPlaceRebuild | null = null;
  shadow?: ShadowRebuild;
  isOpen = false;
  readonly #sink: MemorySink;
  readonly #life: Life;
  readonly #onChange: () => void;
  #queue: Promise<unknown> = Promise.resolve();
  /** Once it has failed every batch does, until it is opened again. */
  #failure: TidemarkError | null = null;

  constructor(sink: MemorySink, life: Life, onChange: () => void) {
    this.#sink = sink;
    this.limits = sink.limits;
    this.#life = life;
    this.#onChange = onChange;
  }

  withShadow(shadow: ShadowRebuild): this {
    this.shadow = shadow;
    return this;
  }

  withInPlace(inPlace: InPlaceRebuild): this {
    this.inPlace = inPlace;
    return this;
  }

  check(): Promise<Finding[]> {
    return Promise.resolve([]);
  }

  async open(start: SinkStart): Promise<Checkpoint | null> {
    this.isOpen = false;
    await this.#queue;
    const opened = await this.#life.step('open', () => this.#sink.open(start));
    this.isOpen = true;
    this.#failure = null;
    return opened;
  }

  apply(batch: SinkBatch, signal: AbortSignal): Applying {
    const applying = this.#queue.then(() => this.#apply(batch, signal));
    this.#queue = applying.catch(() => undefined);
    const durable = applying.then((applied) => applied.durable);
    durable.catch(() => undefined);
    return { accepted: applying.then(() => undefined), durable };
  }

  async #apply(batch: SinkBatch, signal: AbortSignal): Promise<{ readonly durable: Promise<Offset> }> {
    if (this.#failure !== null) throw this.#failure;
    try {
      return await this.#life.step('apply', async () => {
        if (!this.isOpen) throw new TidemarkError('INTERNAL', 'a sink that is closed is applied to');
        const { accepted, durable } = this.#sink.apply(batch, signal);
        durable.catch(() => undefined);
        await accepted;
        this.#onChange();
        return { durable };
      });
    } catch (failure) {
      this.#failure = asTidemarkError(failure, 'INTERNAL');
      throw failure;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.isOpen = false;
    return Promise.resolve();
  }
}

class MemoryShadow implements ShadowRebuild {
  readonly takesTables: boolean;
  readonly #place: MemoryPlace;
  readonly #live: MortalSink;
  readonly #life: Life;
  #open: MortalSink | null = null;

  constructor(place: MemoryPlace, live: MortalSink, life: Life, takesTables: boolean) {
    this.takesTables = takesTables;
    this.#place = place;
    this.#live = live;
    this.#life = life;
  }

  unfit(): Promise<string | null> {
    return Promise.resolve(this.#place.unfit);
  }

  check(): Promise<Finding[]> {
    return this.#life.step('check', () => [...this.#place.findings]);
  }

  open(): Sink {
    return {
      kind: 'state', limits: this.#place.limits, inPlace: null,
      check: () => Promise.resolve([]),
      open: (start) => this.#opened(start),
      apply: (batch, signal) => {
        if (this.#open === null) throw new TidemarkError('INTERNAL', 'a shadow that is closed is applied to');
        return this.#open.apply(batch, signal);
      },
      [Symbol.asyncDispose]: async () => this.#open?.[Symbol.asyncDispose](),
    };
  }

  #opened(start: SinkStart): Promise<Checkpoint | null> {
    this.#place.replaced = 0;
    this.#place.shadow ??= new MemorySink(this.#place.limits);
    for (const key of this.#place.refused) this.#place.shadow.refused.add(key);
    this.#open = new MortalSink(this.#place.shadow, this.#life, () => undefined);
    return this.#open.open(start);
  }

  async finish(_tables: readonly TableSchema[], onProgress: (progress: SwapProgress) => void, signal: AbortSignal): Promise<void> {
    this.#mustBeClosed(this.#open, 'the shadow');
    for (let done = 0; done < 3; done++) {
      signal.throwIfAborted();
      await this.#life.step('finish', () => this.#place.finished++);
      onProgress({ step: `index ${done}`, done: done + 1, of: 3 });
    }
  }

  swap(swap: Swap): Promise<void> {
    this.#mustBeClosed(this.#open, 'the shadow');
    this.#mustBeClosed(this.#live, 'the sink');
    return this.#life.step('swap', () => this.#swap(swap));
  }

  async clear(onProgress: (progress: SwapProgress) => void, signal: AbortSignal): Promise<void> {
    this.#mustBeClosed(this.#open, 'the shadow');
    while (this.#place.replaced > 0) {
      signal.throwIfAborted();
      await this.#life.step('clear', () => this.#place.replaced--);
      onProgress({ step: 'pieces', done: PIECES - this.#place.replaced, of: PIECES });
    }
  }

  discard(): Promise<void> {
    this.#mustBeClosed(this.#open, 'the shadow');
    return this.#life.step('discard', () => {
      this.#place.shadow = null;
      this.#place.replaced = 0;
    });
  }

  #swap({ from, to, tables, whole, notYet = [] }: Swap): void {
    const { live, shadow } = this.#place;
    // Of single tables nothing tells that they were swapped.
    if (shadow === null && whole && isAt(live.checkpoint, to)) return;
    if (shadow === null || !isAt(shadow.checkpoint, to)) throw new TidemarkError('REBUILD_MOVED', 'the shadow is elsewhere');
    if (!isAt(live.checkpoint, from)) throw new TidemarkError('REBUILD_MOVED', 'the sink is elsewhere');
    if (!whole && from?.offset !== to.offset) throw new TidemarkError('INTERNAL', 'single tables are swapped at another offset');
    const swapped = new Set([...tables, ...notYet].map(tableName));
    for (const key of live.rows.keys()) if (swapped.has(key.slice(0, key.indexOf('/')))) live.rows.delete(key);
    for (const [key, row] of shadow.rows) live.rows.set(key, row);
    live.checkpoint = { ...to, fence: Math.max(live.checkpoint?.fence ?? 0, to.fence) + 1 };
    this.#place.shadow = null;
    this.#place.replaced = PIECES;
    this.#place.stale = null;
    this.#place.swaps++;
    this.#place.onSwap();
    this.#place.onChange();
  }

  #mustBeClosed(sink: MortalSink | null, what: string): void {
    if (sink?.isOpen === true) throw new TidemarkError('INTERNAL', `${what} is open`);
  }
}

/** Rows that were there are stale until they are written again; what is stale at the end is removed. */
class MemoryInPlace implements InPlaceRebuild {
  readonly #place: MemoryPlace;
  readonly #life: Life;

  constructor(place: MemoryPlace, life: Life) {
    this.#place = place;
    this.#life = life;
  }

  begin(start: SinkStart): Promise<Checkpoint> {
    return this.#life.step('begin', () => {
      const { live } = this.#place;
      this.#place.stale = new Set(live.rows.keys());
      live.checkpoint = { logId: start.logId, epoch: '', offset: 0, position: new Uint8Array(0), cursor: null, fence: (live.checkpoint?.fence ?? 0) + 1 };
      return live.checkpoint;
    });
  }

  pending(): Promise<boolean> {
    return Promise.resolve(this.#place.stale !== null);
  }

  sweep(): Promise<void> {
    return this.#life.step('sweep', () => {
      const { live } = this.#place;
      for (const key of this.#place.stale ?? []) live.rows.delete(key);
      this.#place.stale = null;
    });
  }
}

function isAt(a: Checkpoint | null, b: Checkpoint | null): boolean {
  return a === null || b === null ? a === b : a.logId === b.logId && a.offset === b.offset && a.epoch === b.epoch;
}
