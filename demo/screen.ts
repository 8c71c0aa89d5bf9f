import type { WriteStream } from 'node:tty';

/** What the demo prints: steps that stay, and one live line that is written over on a terminal. */
export class Screen {
  readonly #out: NodeJS.WriteStream | WriteStream;
  readonly #live: boolean;
  #liveLength = 0;
  #lastLive = -Infinity;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
    this.#live = out.isTTY;
  }

  step(text: string): void {
    this.#clear();
    this.#out.write(`${text}\n`);
  }

  /** The live line. Where there is no terminal, a line every five seconds. */
  live(text: string): void {
    if (this.#live) {
      this.#out.write(`\r${text.padEnd(this.#liveLength)}`);
      this.#liveLength = text.length;
    } else if (performance.now() - this.#lastLive >= 5_000) {
      this.#lastLive = performance.now();
      this.#out.write(`${text}\n`);
    }
  }

  #clear(): void {
    if (this.#liveLength === 0) return;
    this.#out.write(`\r${' '.repeat(this.#liveLength)}\r`);
    this.#liveLength = 0;
  }
}

/** 1234567 as `1,234,567`. */
export function grouped(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** Rows of cells as aligned columns, the first to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>((wide, row) => row.map((cell, i) => Math.max(cell.length, wide[i] ?? 0)), []);
  return rows.map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '));
}
