import type { Writable } from 'node:stream';
import { once } from 'node:events';
import type { Environment } from '../config/references.ts';
import type { Outcome } from './exit.ts';
import type { Registry } from '../hub.ts';

/** The world as a command sees it; tests bring their own. */
export interface CliContext {
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** True when a person looks at standard output. */
  readonly stdoutIsTty: boolean;
  readonly stderrIsTty: boolean;
  readonly env: Environment;
  /** Folder that relative paths start from. */
  readonly cwd: string;
  /** Aborts when the command is asked to end (SIGINT, SIGTERM). */
  readonly signal: AbortSignal;
  /** How the command ends when it does not throw. */
  readonly outcome: Outcome;
  /** Loaded when first asked for: most commands only talk to a hub, and should begin at once. */
  registry(): Promise<Registry>;
  readonly version: string;
  /** Milliseconds since 1970. */
  now(): number;
}


/** Writes, and waits while the reader is slower. */
export async function write(stream: Writable, chunk: string | Uint8Array): Promise<void> {
  if (!stream.write(chunk)) await once(stream, 'drain');
}

/** A line on standard output. */
export function say(context: CliContext, line: string): Promise<void> {
  return write(context.stdout, `${line}\n`);
}

/** A line on standard error, for what is no result. */
export function note(context: CliContext, line: string): Promise<void> {
  return write(context.stderr, `${line}\n`);
}
