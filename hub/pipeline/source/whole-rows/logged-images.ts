import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { SourceLog } from '../../../../contracts/log-engine.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Flag } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import type { Image } from './fill.ts';
import { keyOf, tableOf, type RowId } from './row-id.ts';

/** Where the index says that an image stands. */
export interface Wanted {
  readonly id: RowId;
  readonly offset: Offset;
}

/** Images kept in memory, in bytes. */
const CACHE_BYTES = 16 << 20;
/** Records further apart than this are read on their own. */
const NEAR = 256;
/** Readings of the log side by side. */
const PARALLEL = 4;

/** Row images of the log by offset, durable ones only; the last used ones are kept. */
export class LoggedImages {
  readonly #log: SourceLog;
  readonly #cache = new Map<Offset, Image>();
  #cached = 0;

  constructor(log: SourceLog) {
    this.#log = log;
  }

  /** Keeps a copy of an image that stands at `offset` and is likely to be asked for. */
  remember(offset: Offset, image: Image): void {
    const size = image.end - image.start;
    if (size > CACHE_BYTES / 8 || this.#cache.has(offset)) return;
    const bytes = Buffer.from(image.bytes.subarray(image.start, image.end));
    this.#cache.set(offset, { bytes, start: 0, end: size, schemaVersion: image.schemaVersion });
    this.#cached += size;
    for (const [oldest, kept] of this.#cache) {
      if (this.#cached <= CACHE_BYTES) break;
      this.#cache.delete(oldest);
      this.#cached -= kept.end;
    }
  }

  /** The images, in the order asked for; null: another row stands there, or none. @throws TidemarkError what reading the log throws */
  async read(wanted: readonly Wanted[], signal: AbortSignal): Promise<(Image | null)[]> {
    const images = new Array<Image | null>(wanted.length).fill(null);
    let missing: number[] = [];
    wanted.forEach(({ offset }, index) => {
      const kept = this.#cache.get(offset);
      if (kept === undefined) missing.push(index);
      else {
        // The last used stands last.
        this.#cache.delete(offset);
        this.#cache.set(offset, kept);
        images[index] = kept;
      }
    });
    const { horizon } = this.#log.state();
    const folded = missing.filter((index) => (wanted[index] as Wanted).offset <= horizon);
    if (folded.length > 0) await this.#readFolded(folded, wanted, images);
    missing = missing.filter((index) => (wanted[index] as Wanted).offset > horizon);
    missing.sort((a, b) => (wanted[a] as Wanted).offset - (wanted[b] as Wanted).offset);
    const groups = grouped(missing, wanted);
    const worker = async () => {
      for (let group = groups.shift(); group !== undefined; group = groups.shift()) await this.#readGroup(group, wanted, images, signal);
    };
    try {
      await Promise.all(Array.from({ length: Math.min(PARALLEL, groups.length) }, worker));
    } catch (error) {
      // Folded meanwhile: they stand in the base now.
      if (error instanceof TidemarkError && error.code === 'LOG_BELOW_HORIZON' && this.#log.state().horizon > horizon) return this.read(wanted, signal);
      throw error;
    }
    return images;
  }

  /** Rows as the base has them, whenever they were changed; null: it has none. @throws TidemarkError what reading the log throws */
  async folded(ids: readonly RowId[]): Promise<(Image | null)[]> {
    await using base = await this.#log.openBase();
    const images: (Image | null)[] = [];
    for (const id of ids) {
      const row = (await base?.find(tableOf(id), keyOf(id), true)) ?? null;
      images.push(row === null ? null : { bytes: row.image, start: 0, end: row.image.length, schemaVersion: row.schemaVersion });
    }
    return images;
  }

  /** Fills in what stands in the base; a row that was changed since, below the horizon, is another image. */
  async #readFolded(folded: readonly number[], wanted: readonly Wanted[], images: (Image | null)[]): Promise<void> {
    await using base = await this.#log.openBase();
    for (const index of folded) {
      const { id, offset } = wanted[index] as Wanted;
      const row = (await base?.find(tableOf(id), keyOf(id), true)) ?? null;
      if (row === null || row.offset !== offset) continue;
      const image = { bytes: row.image, start: 0, end: row.image.length, schemaVersion: row.schemaVersion };
      images[index] = image;
      this.remember(offset, image);
    }
  }

  async #readGroup(group: readonly number[], wanted: readonly Wanted[], images: (Image | null)[], signal: AbortSignal): Promise<void> {
    const first = (wanted[group[0] as number] as Wanted).offset;
    const last = (wanted[group.at(-1) as number] as Wanted).offset;
    const view = new RecordView();
    let next = 0;
    for await (const batch of this.#log.read({ after: first - 1, to: last, follow: false, signal })) {
      for (view.reset(batch.records); view.next() && next < group.length; ) {
        const offset = batch.baseOffset + view.index;
        while (next < group.length && (wanted[group[next] as number] as Wanted).offset === offset) {
          const index = group[next++] as number;
          images[index] = this.#taken(view, wanted[index] as Wanted);
        }
      }
    }
  }

  #taken(view: RecordView, { id, offset }: Wanted): Image | null {
    if (view.tableId !== tableOf(id) || !view.key().equals(keyOf(id)) || !view.hasAfter || (view.flags & Flag.incomplete) !== 0) return null;
    this.remember(offset, { bytes: view.bytes, start: view.afterStart, end: view.afterEnd, schemaVersion: view.schemaVersion });
    // A copy of its own: the batch that was read is not kept for the sake of one row.
    return this.#cache.get(offset) ?? { bytes: Buffer.from(view.after()), start: 0, end: view.afterEnd - view.afterStart, schemaVersion: view.schemaVersion };
  }
}

/** Neighbours, by offset, that are read at once. */
function grouped(sorted: readonly number[], wanted: readonly Wanted[]): number[][] {
  const groups: number[][] = [];
  let last = -Infinity;
  for (const index of sorted) {
    const { offset } = wanted[index] as Wanted;
    const group = groups.at(-1);
    if (group !== undefined && offset - last <= NEAR) group.push(index);
    else groups.push([index]);
    last = offset;
  }
  return groups;
}
