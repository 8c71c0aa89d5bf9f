import Type, { type Static } from 'typebox';
import { Check } from 'typebox/value';
import type { Checkpoint } from '../../contracts/checkpoint.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { FileSystem } from '../../contracts/runtime.ts';

const OFFSET = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

const CHECKPOINT = Type.Object({ logId: Type.String(), epoch: Type.String(), offset: OFFSET, position: Type.String(), fence: Type.Integer() });

/**
 * How far a rebuild is, as far as it must survive a crash. `filling`: the shadow is filled, or made ready. `swapping`: the
 * swap may have been made, and the sink is applied to by nobody until that is known. `clearing`: it was made, the sink goes
 * on, and what it has replaced is removed. `discarding`: it was cancelled, and what it has made is removed. `asked`, `replaying`: a rebuild in place, before and after the sink was told. `done`,
 * `cancelled`: it is over.
 */
const STAGE = Type.Enum(['filling', 'swapping', 'clearing', 'discarding', 'asked', 'replaying', 'done', 'cancelled']);

const REQUEST = Type.Object({
  version: Type.Literal(1),
  id: Type.String(),
  way: Type.Enum(['shadow', 'in-place']),
  tables: nullable(Type.Array(Type.String())),
  to: nullable(OFFSET),
  config: Type.String(),
  logId: Type.Optional(nullable(Type.String())),
  stage: STAGE,
  fresh: Type.Boolean(),
  rests: Type.Boolean(),
  pausedAt: Type.Optional(nullable(Type.String())),
  swap: nullable(Type.Object({ from: nullable(CHECKPOINT), to: CHECKPOINT })),
  startedAt: Type.String(),
  endedAt: nullable(Type.String()),
  offset: OFFSET,
  why: Type.String(),
});

type Stored = Static<typeof REQUEST>;

/** The two checkpoints of a swap, as they stood when it was begun. */
export interface SwapPoints {
  readonly from: Checkpoint | null;
  readonly to: Checkpoint;
}

/** The rebuild of one sink: what was asked, and how far it is. */
export interface RebuildRequest {
  /** Names this rebuild. */
  readonly id: string;
  readonly way: Stored['way'];
  /** Patterns of the tables; null: the whole sink. */
  readonly tables: readonly string[] | null;
  /** The sink is put there, and rests there; null: it goes on. */
  readonly to: number | null;
  /** What of the sink's configuration it was begun with. */
  readonly config: string;
  /** The log that it was asked of; null: not known. */
  readonly logId: string | null;
  readonly stage: Stored['stage'];
  /** Whatever is left of an earlier rebuild is removed first. */
  readonly fresh: boolean;
  /** In place: the sink was paused, and rests again afterwards. */
  readonly rests: boolean;
  /** In place: since when the sink was paused as it was asked for, which it ends. Null: it was not. */
  readonly pausedAt: string | null;
  /** From `swapping` on. */
  readonly swap: SwapPoints | null;
  /** ISO 8601, as `endedAt`. */
  readonly startedAt: string;
  readonly endedAt: string | null;
  /** Of one that is over, or clears: where the sink stands by it. */
  readonly offset: number;
  /** Of one that was cancelled: why, if nobody asked for it. */
  readonly why: string;
}

/** True until it is done or cancelled. */
export function isUnderWay({ stage }: RebuildRequest): boolean {
  return stage !== 'done' && stage !== 'cancelled';
}

/** True until the sink is as it was asked for: what was replaced may still be there. */
export function isAwaited(request: RebuildRequest): boolean {
  return isUnderWay(request) && request.stage !== 'clearing';
}

/** The last rebuild of one sink, in one file that is replaced as a whole; absent before the first one. */
export class RebuildFile {
  readonly #files: FileSystem;
  readonly #path: string;
  #request: RebuildRequest | null;
  #saved: Promise<void> = Promise.resolve();

  private constructor(files: FileSystem, path: string, request: RebuildRequest | null) {
    this.#files = files;
    this.#path = path;
    this.#request = request;
  }

  /** @param path absolute. @throws TidemarkError `REBUILD_FILE` */
  static async load(files: FileSystem, path: string): Promise<RebuildFile> {
    return new RebuildFile(files, path, (await files.exists(path)) ? decode(await files.readFile(path), path) : null);
  }

  get request(): RebuildRequest | null {
    return this.#request;
  }

  /** Counts once it is durable, which it is when it resolves. One replacement after the other. */
  save(request: RebuildRequest): Promise<void> {
    const save = this.#saved.then(async () => {
      await this.#files.replace(this.#path, encode(request));
      this.#request = request;
    });
    this.#saved = save.catch(() => undefined);
    return save;
  }

  /** After a save that failed: what it was to note may be in the file all the same, and would count after a restart. */
  async putBack(): Promise<void> {
    if (this.#request !== null) return this.save(this.#request);
    const removed = this.#saved.then(() => this.#files.remove(this.#path));
    this.#saved = removed.catch(() => undefined);
    return removed;
  }
}

function encode(request: RebuildRequest): Buffer {
  const { swap, tables } = request;
  const stored: Stored = {
    version: 1, ...request, tables: tables === null ? null : [...tables],
    swap: swap === null ? null : { from: swap.from === null ? null : storedPoint(swap.from), to: storedPoint(swap.to) },
  };
  return Buffer.from(JSON.stringify(stored), 'utf8');
}

function decode(bytes: Buffer, path: string): RebuildRequest {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new TidemarkError('REBUILD_FILE', 'the file is not JSON', { where: { file: path }, cause });
  }
  if (!Check(REQUEST, value)) throw new TidemarkError('REBUILD_FILE', 'the file is not of this version, or lacks a field', { where: { file: path } });
  const { version: _version, swap, logId = null, pausedAt = null, ...request } = value;
  return { ...request, logId, pausedAt, swap: swap === null ? null : { from: swap.from === null ? null : checkpointOf(swap.from), to: checkpointOf(swap.to) } };
}

function storedPoint({ logId, epoch, offset, position, fence }: Checkpoint): Static<typeof CHECKPOINT> {
  return { logId, epoch, offset, position: Buffer.from(position).toString('hex'), fence };
}

function checkpointOf({ position, ...rest }: Static<typeof CHECKPOINT>): Checkpoint {
  return { ...rest, position: Buffer.from(position, 'hex'), cursor: null };
}
