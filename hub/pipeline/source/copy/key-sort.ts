import { join } from 'node:path';
import type { Offset } from '../../../../contracts/offset.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import { ExternalSorter } from '../../../log/embedded/runs/external-sort.ts';
import type { KeyFact, KeySort } from './stale-keys.ts';

const VALUE_BYTES = 9;

/** Sorts keys with the log's own runs and merge. */
class RunKeySort implements KeySort {
  readonly #sorter: ExternalSorter;
  readonly #tableId: number;
  readonly #value = Buffer.alloc(VALUE_BYTES);

  constructor(sorter: ExternalSorter, tableId: number) {
    this.#sorter = sorter;
    this.#tableId = tableId;
  }

  add(key: Uint8Array, offset: Offset, live: boolean): Promise<void> | void {
    this.#value.writeBigUInt64BE(BigInt(offset), 0);
    this.#value[8] = live ? 1 : 0;
    return this.#sorter.add(this.#tableId, key, this.#value);
  }

  async *newest(): AsyncGenerator<KeyFact, void, void> {
    const cursor = await this.#sorter.sorted();
    for (;;) {
      const more = cursor.next();
      if (!(typeof more === 'boolean' ? more : await more)) return;
      const { bytes, keyStart, keyEnd } = cursor;
      yield {
        key: Buffer.from(bytes.subarray(keyStart, keyEnd)),
        offset: Number(bytes.readBigUInt64BE(keyEnd)),
        live: bytes[keyEnd + 8] === 1,
      };
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#sorter[Symbol.asyncDispose]();
  }
}

/** A sort of one table's keys in a folder of its own below `directory`; what an ended process left there is removed. */
export async function runKeySort(files: FileSystem, directory: string, tableId: number): Promise<KeySort> {
  const own = join(directory, `copy-${tableId}`);
  await files.makeDirectory(own);
  for (const name of await files.list(own)) await files.remove(join(own, name));
  return new RunKeySort(new ExternalSorter({ files, directory: own, duplicates: 'newest' }), tableId);
}
