import type { Clock } from '../../../../contracts/runtime.ts';
import type { Offset } from '../../../../contracts/offset.ts';

/** A reader that has not moved for so long does not keep the horizon any more, in milliseconds. */
const STUCK_MS = 300_000;

/** A reader in the middle of the history. Owned by it; disposed when it ends. */
export class Pin implements Disposable {
  offset: Offset;
  movedAt: number;
  readonly #keeps: () => Offset;
  readonly #pins: Set<Pin>;
  readonly #clock: Clock;

  constructor(pins: Set<Pin>, clock: Clock, offset: Offset, keeps: () => Offset) {
    this.#pins = pins;
    this.#keeps = keeps;
    this.#clock = clock;
    this.offset = offset;
    this.movedAt = clock.monotonic();
    pins.add(this);
  }

  /** What the horizon may not pass. */
  get kept(): Offset {
    return Math.min(this.offset, this.#keeps());
  }

  moveTo(offset: Offset): void {
    this.offset = offset;
    this.movedAt = this.#clock.monotonic();
  }

  [Symbol.dispose](): void {
    this.#pins.delete(this);
  }
}

/**
 * A pin at the horizon, which stays where it is from there on: a fold that was being named when the pin came has not seen it,
 * and is waited for. Only force moves the horizon past it.
 */
export async function pinHorizon(core: { readonly view: { readonly horizon: Offset }; readonly pins: Pins; settled(): Promise<void> }): Promise<Pin> {
  for (;;) {
    const { horizon } = core.view;
    const pin = core.pins.pin(horizon);
    await core.settled();
    if (core.view.horizon === horizon) return pin;
    pin[Symbol.dispose]();
  }
}

/** Where readers stand: compaction does not take away what one of them is about to read, unless it is stuck. */
export class Pins {
  readonly #clock: Clock;
  readonly #pins = new Set<Pin>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param keeps where its owner would begin again */
  pin(offset: Offset, keeps: () => Offset = () => Number.POSITIVE_INFINITY): Pin {
    return new Pin(this.#pins, this.#clock, offset, keeps);
  }

  /** The lowest offset that the horizon may not pass; Infinity: there is none. */
  lowest(): Offset {
    const now = this.#clock.monotonic();
    let lowest = Number.POSITIVE_INFINITY;
    for (const pin of this.#pins) if (now - pin.movedAt < STUCK_MS) lowest = Math.min(lowest, pin.kept);
    return lowest;
  }
}
