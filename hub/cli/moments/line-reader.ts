import type { Static, TSchema } from 'typebox';
import { Check } from 'typebox/value';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { END_LINE, PROGRESS_LINE, type EndJson, type ProgressJson } from '../../api/moments/schemas.ts';

const PROGRESS = '{"progress":';
const END = '{"end":';

/** Told of what is on its way while nothing comes. */
export type OnProgress = (progress: ProgressJson) => void;

/** Takes the lines of a moment apart: the head, the rows, the end. Reads as it is read; disposing ends the reading. */
export class LineReader implements AsyncDisposable {
  readonly #pieces: AsyncIterator<string>;
  readonly #onProgress: OnProgress;
  /** Lines that came with the head. */
  #held: string[] = [];
  #end: EndJson | null = null;

  constructor(pieces: AsyncIterable<string>, onProgress: OnProgress = () => undefined) {
    this.#pieces = pieces[Symbol.asyncIterator]();
    this.#onProgress = onProgress;
  }

  /** The first line. @throws TidemarkError `API_ANSWER`, and what the request is refused with */
  async head<S extends TSchema>(schema: S): Promise<Static<S>> {
    const [first, ...rest] = (await this.#next()) ?? [];
    this.#held = rest;
    return parsedLine(first ?? '', schema);
  }

  /** The lines of rows, as many at a time as come together. @throws TidemarkError `API_ANSWER` when they end too early */
  async *rows(): AsyncGenerator<readonly string[], void, void> {
    for (let lines: string[] | null = this.#held; lines !== null; lines = await this.#next()) {
      const rows = lines.filter((line) => this.#isRow(line));
      if (rows.length > 0) yield rows;
    }
    if (this.#end === null) throw new TidemarkError('API_ANSWER', 'the lines have no end: some are missing');
  }

  /** How many of each kind there were; known once `rows` is through. */
  get end(): EndJson {
    return this.#end ?? {};
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pieces.return?.();
  }

  async #next(): Promise<string[] | null> {
    const step = await this.#pieces.next();
    return step.done === true ? null : step.value.split('\n').slice(0, -1);
  }

  #isRow(line: string): boolean {
    if (line.startsWith(PROGRESS)) {
      this.#onProgress(parsedLine(line, PROGRESS_LINE).progress);
      return false;
    }
    if (!line.startsWith(END)) return true;
    this.#end = parsedLine(line, END_LINE).end;
    return false;
  }
}

/** @throws TidemarkError `API_ANSWER` */
export function parsedLine<S extends TSchema>(line: string, schema: S): Static<S> {
  const value = jsonOf(line);
  if (!Check(schema, value)) throw new TidemarkError('API_ANSWER', 'a line of the answer is not understood');
  return value;
}

/** @throws TidemarkError `API_ANSWER` */
export function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new TidemarkError('API_ANSWER', 'a line of the answer is not JSON', { cause });
  }
}
