import type { Transcoder, Unmapped } from './transcoder.ts';
import { QUESTION_MARK, unmappedError, writePoint } from './unmapped.ts';

const NOTHING = 0xfffd;

/** A charset of one byte per character. */
export class SingleByteTranscoder implements Transcoder {
  readonly charset: string;
  readonly isUtf8 = false;
  readonly growth = 3;
  readonly #points: Uint16Array;
  readonly #unmapped: Unmapped;
  readonly #replacement: number;

  /** @param characters of all 256 bytes, or of the upper 128 */
  constructor(charset: string, characters: string, unmapped: Unmapped) {
    this.charset = charset;
    this.#unmapped = unmapped;
    // Alone among the charsets, this one's bytes without meaning become U+FFFD at the server.
    this.#replacement = charset === 'tis620' ? NOTHING : QUESTION_MARK;
    const first = 256 - characters.length;
    this.#points = Uint16Array.from({ length: 256 }, (_, code) => (code < first ? code : characters.charCodeAt(code - first)));
  }

  transcode(bytes: Uint8Array, start: number, end: number, into: Uint8Array, to: number): number {
    const points = this.#points;
    let at = to;
    for (let next = start; next < end; next++) {
      const point = points[bytes[next] as number] as number;
      if (point < 0x80) into[at++] = point;
      else at = writePoint(point === NOTHING ? this.#replaced(bytes, next) : point, into, at);
    }
    return at;
  }

  #replaced(bytes: Uint8Array, at: number): number {
    if (this.#unmapped === 'refuse') throw unmappedError(this.charset, bytes, at, 1);
    return this.#replacement;
  }
}
