import { Writable } from 'node:stream';
import type { Registry } from '../../../hub/hub.ts';
import type { CliContext } from '../../../hub/cli/context.ts';
import type { ExitCode, Outcome } from '../../../hub/cli/exit.ts';
import { runCommand } from '../../../hub/cli/program.ts';
import type { Environment } from '../../../hub/config/references.ts';

export interface CliResult {
  readonly code: ExitCode;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly cwd: string;
  readonly env?: Environment;
  readonly registry?: Registry;
  readonly signal?: AbortSignal;
  readonly tty?: boolean;
  /** Sees standard output as it comes. */
  readonly onOutput?: (text: string) => void;
}

export const NO_MODULES: Registry = { connectors: [], sinks: [] };

/** Runs a command line in this process. */
export async function tidemark(args: readonly string[], options: CliOptions): Promise<CliResult> {
  const stdout = collector(options.onOutput);
  const stderr = collector();
  const outcome: Outcome = { exitCode: 0 };
  const context: CliContext = {
    stdout: stdout.stream,
    stderr: stderr.stream,
    stdoutIsTty: options.tty ?? false,
    stderrIsTty: false,
    env: options.env ?? {},
    cwd: options.cwd,
    signal: options.signal ?? new AbortController().signal,
    outcome,
    registry: () => Promise.resolve(options.registry ?? NO_MODULES),
    version: '0.1.0',
    now: () => Date.parse('2026-11-21T13:12:00.000Z'),
  };
  const code = await runCommand(args, context);
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

function collector(seen?: (text: string) => void): { stream: Writable; text: () => string } {
  let text = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      seen?.(String(chunk));
      done();
    },
  });
  return { stream, text: () => text };
}
