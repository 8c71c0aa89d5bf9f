/** Lets work pass, or makes it wait: what the wrappers that hold a contract's work have in common. */
export interface Gate {
  /** From now on whoever passes waits. */
  readonly hold: () => void;
  /** Lets what waits go on, in order, and everything after it. */
  readonly go: () => void;
  /** How many wait. */
  readonly waiting: number;
}

export interface PassableGate extends Gate {
  readonly pass: () => Promise<void>;
}

/** An open gate. */
export function createGate(): PassableGate {
  let closed: PromiseWithResolvers<void> | null = null;
  let waiting = 0;
  return {
    hold: () => {
      closed ??= Promise.withResolvers();
    },
    go: () => {
      closed?.resolve();
      closed = null;
    },
    get waiting() {
      return waiting;
    },
    pass: async () => {
      if (closed === null) return;
      waiting++;
      await closed.promise;
      waiting--;
    },
  };
}
