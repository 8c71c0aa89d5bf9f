import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { write, type CliContext } from '../context.ts';

/** Where a result goes. Waits while what is behind it is slower. */
export interface Output extends AsyncDisposable {
  write(chunk: string | Uint8Array): Promise<void>;
  /** All has been written: a file takes its name. Without this nothing is left of it. */
  finish(): Promise<void>;
}

/** Standard output, or a file. @throws TidemarkError `USAGE` when the file cannot be written */
export async function openOutput(path: string | undefined, context: CliContext): Promise<Output> {
  if (path !== undefined) return FileOutput.create(resolve(context.cwd, path));
  return {
    write: (chunk) => write(context.stdout, chunk),
    finish: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** A file that has its name only when it is whole. */
class FileOutput implements Output {
  readonly #path: string;
  readonly #temporary: string;
  #handle: FileHandle | null;

  private constructor(path: string, temporary: string, handle: FileHandle) {
    this.#path = path;
    this.#temporary = temporary;
    this.#handle = handle;
  }

  static async create(path: string): Promise<FileOutput> {
    const temporary = `${path}.partial`;
    try {
      return new FileOutput(path, temporary, await open(temporary, 'w', 0o600));
    } catch (cause) {
      throw new TidemarkError('USAGE', `${path} cannot be written (${codeOf(cause)})`, { cause, remedy: 'Name another file with `--output`.' });
    }
  }

  async write(chunk: string | Uint8Array): Promise<void> {
    const handle = this.#handle;
    if (handle === null) throw new TidemarkError('INTERNAL', 'a file is written to after its end');
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, 'utf8') : chunk;
    for (let done = 0; done < bytes.length; ) done += (await handle.write(bytes, done)).bytesWritten;
  }

  async finish(): Promise<void> {
    await this.#handle?.sync();
    await this.#close();
    await rename(this.#temporary, this.#path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#handle === null) return;
    await this.#close();
    await rm(this.#temporary, { force: true });
  }

  async #close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = null;
    await handle?.close();
  }
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
}
