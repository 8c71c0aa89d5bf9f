import { applyDiffs, partOf } from '../json/json-diff.ts';
import { JsonText } from '../json/json-text.ts';
import type { CellWriter } from './cell-writer.ts';
import type { ColumnDecoder } from './column-decoder.ts';
import { readU32 } from './digits.ts';

/** A document behind its length of 4 bytes. */
export class JsonDecoder implements ColumnDecoder {
  readonly #text = new JsonText();

  decode(bytes: Buffer, at: number, out: CellWriter): number {
    const end = at + 4 + readU32(bytes, at);
    this.#text.print(bytes, at + 4, end);
    out.text(this.#text.bytes, 0, this.#text.length);
    return end;
  }

  patch(bytes: Buffer, at: number, end: number, old: Buffer, oldAt: number, oldEnd: number, out: CellWriter): void {
    this.#text.printTree(applyDiffs(bytes, at, end, old, oldAt, oldEnd), end - at + oldEnd - oldAt);
    out.text(this.#text.bytes, 0, this.#text.length);
  }

  part(bytes: Buffer, at: number, end: number, out: CellWriter): void {
    out.part(partOf(bytes, at, end, this.#text));
  }
}
