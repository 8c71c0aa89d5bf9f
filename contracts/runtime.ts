/**
 * The world as ports: clock, randomness, file system, logging and metrics come in from outside, so that tests control
 * them. Only hub/main and tests make the real ones.
 */

import type { EventName } from './events.ts';

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Monotonic milliseconds. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts. The timer is gone either way. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `tick` every `ms` until disposed. */
  every(ms: number, tick: () => void): Disposable;
}

export interface Random {
  bytes(length: number): Buffer;
  /** 0 <= x < 1 */
  unit(): number;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/**
 * Structured log. Fields are counts, offsets, lengths and names; never row values or keys. A source or sink is given a
 * logger that names it in every line.
 */
export interface Logger {
  log(level: LogLevel, event: EventName, fields?: Readonly<Record<string, unknown>>): void;
  child(fields: Readonly<Record<string, unknown>>): Logger;
}

/** Metrics by constant names (hub/observability/metric-names.ts). */
export interface Metrics {
  add(name: string, value: number, labels?: Readonly<Record<string, string>>): void;
  set(name: string, value: number, labels?: Readonly<Record<string, string>>): void;
  observe(name: string, value: number, labels?: Readonly<Record<string, string>>): void;
}

/** An open file of the log. Positions and lengths in bytes. */
export interface LogFile {
  /** Writes all of `bytes` at `position`; resolves when the operating system has them (not durable). */
  write(bytes: readonly Uint8Array[], position: number): Promise<void>;
  /** Reads up to `into.length` bytes; answers how many. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Makes the data durable. A failure is final: what was written since the last one may be lost. */
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

/** The file system as the log sees it; tests put faults behind it. Paths are absolute. */
export interface FileSystem {
  open(path: string, mode: 'read' | 'write' | 'create'): Promise<LogFile>;
  readFile(path: string): Promise<Buffer>;
  /** Writes a temporary file, syncs it, renames it over `path`, syncs the directory. */
  replace(path: string, bytes: Uint8Array): Promise<void>;
  list(directory: string): Promise<string[]>;
  makeDirectory(path: string): Promise<void>;
  remove(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /**
   * Gives a file a second name, durable only after `syncDirectory`. Fails with Node's `EXDEV` across disks, `EPERM` or
   * `ENOTSUP` where a disk knows no second names. Absent where there are none.
   */
  link?(from: string, to: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
  exists(path: string): Promise<boolean>;
  /** Bytes of the disk that holds `path`, and those of them that can still be written. Absent where nobody can tell. */
  space?(path: string): Promise<{ readonly free: number; readonly total: number }>;
  /** Bytes of disk that a file, or all of a folder, takes; 0 when it is not there. Absent where nobody can tell. */
  taken?(path: string): Promise<number>;
}

export interface Runtime {
  readonly clock: Clock;
  readonly random: Random;
  readonly files: FileSystem;
  readonly logger: Logger;
  readonly metrics: Metrics;
}
