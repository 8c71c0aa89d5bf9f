/** One after the other: a session has one statement under way. */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Resolves when it is the caller's turn; disposing ends the turn. */
  async take(): Promise<Disposable> {
    const before = this.#last;
    const over = Promise.withResolvers<void>();
    this.#last = over.promise;
    await before;
    return { [Symbol.dispose]: () => over.resolve() };
  }
}
