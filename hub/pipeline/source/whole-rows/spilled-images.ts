import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { FileSystem, LogFile } from '../../../../contracts/runtime.ts';
import type { Image } from './fill.ts';

/** Where an image stands in the file: a byte position and a length. */
export interface Place {
  readonly position: number;
  readonly length: number;
}

/** Readings of the file side by side. */
const PARALLEL = 8;
/** Images of one write. */
const WRITE_BYTES = 1 << 20;

/**
 * Row images of an unfinished large transaction, one behind the other in a file of their own: a sorted store would read
 * and write each of them several times over, and keep them mapped into memory. The file lives as long as the transaction.
 */
export class SpilledImages implements AsyncDisposable {
  readonly #files: FileSystem;
  readonly #path: string;
  #file: LogFile | null = null;
  #end = 0;

  /** @param path of this spill alone; made at the first image, a file that an earlier process left is thrown away */
  constructor(files: FileSystem, path: string) {
    this.#files = files;
    this.#path = path;
  }

  /** Appends images; answers where each stands. @throws TidemarkError `WHOLE_ROW_INDEX` */
  add(images: readonly Image[]): Promise<Place[]> {
    return guarded(async () => {
      const places: Place[] = [];
      let pieces: Buffer[] = [];
      let start = this.#end;
      for (const { bytes, start: from, end } of images) {
        places.push({ position: this.#end, length: end - from });
        pieces.push(bytes.subarray(from, end));
        this.#end += end - from;
        if (this.#end - start < WRITE_BYTES) continue;
        await (await this.#opened()).write(pieces, start);
        start = this.#end;
        pieces = [];
      }
      if (pieces.length > 0) await (await this.#opened()).write(pieces, start);
      return places;
    });
  }

  /** The bytes at these places, in that order. @throws TidemarkError `WHOLE_ROW_INDEX` */
  read(places: readonly Place[]): Promise<Buffer[]> {
    return guarded(async () => {
      const found = new Array<Buffer>(places.length);
      if (places.length === 0) return found;
      const file = await this.#opened();
      let next = 0;
      const worker = async (): Promise<void> => {
        for (let index = next++; index < places.length; index = next++) {
          const { position, length } = places[index] as Place;
          const bytes = Buffer.allocUnsafe(length);
          if ((await file.read(bytes, position)) < length) throw new Error('the file of large rows ends inside one');
          found[index] = bytes;
        }
      };
      await Promise.all(Array.from({ length: Math.min(PARALLEL, places.length) }, worker));
      return found;
    });
  }

  /** Forgets every image, and the file. */
  clear(): Promise<void> {
    return guarded(async () => {
      await this.#close();
      await this.#files.remove(this.#path);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.clear();
  }

  async #opened(): Promise<LogFile> {
    if (this.#file !== null) return this.#file;
    await this.#files.remove(this.#path);
    this.#file = await this.#files.open(this.#path, 'create');
    return this.#file;
  }

  async #close(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    this.#end = 0;
    await file?.close();
  }
}

async function guarded<T>(use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TidemarkError('WHOLE_ROW_INDEX', `the large rows of an unfinished transaction cannot be kept: ${why}`, { cause });
  }
}
