import { execFile } from 'node:child_process';
import { cp, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import type { HubStatus, SinkStatusView, SourceStatusView } from '../../hub/service.ts';
import { compareDatabases } from '../fixtures/compare-databases.ts';
import type { PostgresServer } from '../fixtures/embedded-postgres.ts';
import { type HubProcess, startHubProcess, writeHubConfig } from '../fixtures/hub-process.ts';
import { mountSmallDisk, type SmallDisk } from '../fixtures/small-disk.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../fixtures/temp.ts';

const main = resolve(import.meta.dirname, '../../hub/cli/main.ts');
const COMMAND_LIMIT_MS = 180_000;
const LIMIT_MS = 180_000;

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StandOptions {
  /** The server that suffers; its databases are made by the stand. */
  readonly source: PostgresServer;
  readonly replica: PostgresServer;
  /** Where another source of the same hub lives that nothing happens to. */
  readonly calm: PostgresServer;
  readonly sourceUrl?: (database: string) => string;
  readonly replicaUrl?: (database: string) => string;
  readonly hub?: Readonly<Record<string, unknown>>;
  readonly sourceOptions?: Readonly<Record<string, unknown>>;
  /** The hub's folder is a disk of its own of so many bytes, where there is the right to mount one. */
  readonly diskBytes?: number;
}

let stands = 0;

/**
 * A hub as users run it, as a process with a folder of its own: the source `shop` with the sink `replica`, and, to see
 * that the rest goes on, the source `calm` with the sink `calm-copy`. Commands are processes, too.
 */
export class DisasterStand implements AsyncDisposable {
  readonly source: PostgresServer;
  readonly replica: PostgresServer;
  readonly disk: SmallDisk | null;
  readonly name = `d${++stands}`;
  readonly #calm: PostgresServer;
  readonly #folder: TemporaryDirectory;
  readonly #config: Readonly<Record<string, unknown>>;
  #hub: HubProcess | null = null;
  #calmRows = 0;
  /** Tables count as copied from beyond this offset. */
  #gapAfter = 0;

  private constructor(options: StandOptions, folder: TemporaryDirectory, disk: SmallDisk | null) {
    this.disk = disk;
    this.source = options.source;
    this.replica = options.replica;
    this.#calm = options.calm;
    this.#folder = folder;
    const sourceUrl = options.sourceUrl ?? ((database) => this.source.url(database));
    const replicaUrl = options.replicaUrl ?? ((database) => this.replica.url(database));
    this.#config = {
      hub: { data: './data', ...options.hub },
      sources: {
        shop: { type: 'postgres', url: sourceUrl(this.sourceDatabase), tables: ['public.*'], slot: this.slot, ...options.sourceOptions },
        calm: { type: 'postgres', url: this.#calm.url(this.calmDatabase), tables: ['public.*'], slot: `${this.slot}_calm` },
      },
      sinks: {
        replica: { type: 'postgres', from: 'shop', url: replicaUrl(this.replicaDatabase), tables: ['public.*'] },
        'calm-copy': { type: 'postgres', from: 'calm', url: this.#calm.url(this.calmCopyDatabase), tables: ['public.*'] },
      },
    };
  }

  /** Two tables at the source, copied; the hub runs. */
  static async begin(options: StandOptions): Promise<DisasterStand> {
    const folder = await temporaryDirectory('disaster');
    const disk = options.diskBytes === undefined ? null : await mountSmallDisk(join(folder.path, 'data'), options.diskBytes);
    const stand = new DisasterStand(options, folder, disk);
    await Promise.all([
      stand.source.query(`CREATE DATABASE ${stand.sourceDatabase}`),
      stand.replica.query(`CREATE DATABASE ${stand.replicaDatabase}`),
      stand.#calm.query(`CREATE DATABASE ${stand.calmDatabase}`).then(() => stand.#calm.query(`CREATE DATABASE ${stand.calmCopyDatabase}`)),
    ]);
    await stand.atSource(`
      CREATE TABLE items (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, body text);
      CREATE TABLE notes (id int PRIMARY KEY, text text);
      INSERT INTO items SELECT i, i, repeat('x', 100) FROM generate_series(1, 300) AS i;
      INSERT INTO notes SELECT i, 'note ' || i FROM generate_series(1, 50) AS i`);
    await stand.#calm.query('CREATE TABLE ticks (id int PRIMARY KEY)', [], stand.calmDatabase);
    await stand.startHub();
    await stand.expectEqual();
    return stand;
  }

  get slot(): string {
    return `slot_${this.name}`;
  }
  get sourceDatabase(): string {
    return `source_${this.name}`;
  }
  get replicaDatabase(): string {
    return `replica_${this.name}`;
  }
  get calmDatabase(): string {
    return `calm_${this.name}`;
  }
  get calmCopyDatabase(): string {
    return `calm_copy_${this.name}`;
  }
  get directory(): string {
    return this.#folder.path;
  }
  get config(): Readonly<Record<string, unknown>> {
    return this.#config;
  }
  get hub(): HubProcess {
    if (this.#hub === null) throw new Error('the hub has not been started');
    return this.#hub;
  }

  async startHub(): Promise<void> {
    this.#hub = await startHubProcess({ directory: this.directory, config: this.#config });
  }

  async atSource(sql: string): Promise<Record<string, unknown>[]> {
    return this.source.query(sql, [], this.sourceDatabase);
  }

  async atReplica(sql: string): Promise<Record<string, unknown>[]> {
    return this.replica.query(sql, [], this.replicaDatabase);
  }

  /** A change that is seen in every row of `items`. */
  async change(): Promise<void> {
    await this.atSource("UPDATE items SET n = n + 1; INSERT INTO notes SELECT coalesce(max(id), 0) + 1, 'more' FROM notes");
  }

  /** A command line in the folder of the hub, as a process. */
  async command(...args: string[]): Promise<CommandResult> {
    try {
      const { stdout, stderr } = await promisify(execFile)(process.execPath, [main, ...args], { cwd: this.directory, timeout: COMMAND_LIMIT_MS });
      return { code: 0, stdout, stderr };
    } catch (error) {
      if (!(error instanceof Error) || !('stdout' in error) || !('stderr' in error) || !('code' in error)) throw error;
      return { code: Number(error.code), stdout: String(error.stdout), stderr: String(error.stderr) };
    }
  }

  /** The hub's state as `tidemark status --json` prints it. */
  async status(): Promise<HubStatus> {
    const { code, stdout, stderr } = await this.command('status', '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(stdout) as HubStatus;
  }

  /** The source has failed with that code, says what to do, and the rest goes on. */
  async expectSourceFailed(code: string, remedy: RegExp = /tidemark source resync/): Promise<SourceStatusView> {
    await this.hub.until(`the source fails with ${code}`, ({ sources }) => sources.some(({ name, state }) => name === 'shop' && state === 'failed'), LIMIT_MS);
    const source = (await this.status()).sources.find(({ name }) => name === 'shop');
    expect(source).toMatchObject({ state: 'failed', error: { code, remedy: expect.stringMatching(remedy) as string } });
    await this.expectCalm();
    if (source === undefined) throw new Error('the hub has no source shop');
    return source;
  }

  async expectSinkFailed(code: string, remedy: RegExp): Promise<SinkStatusView> {
    await this.hub.until(`the sink fails with ${code}`, ({ sinks }) => sinks.some(({ name, state }) => name === 'replica' && state === 'failed'), LIMIT_MS);
    const sink = (await this.status()).sinks.find(({ name }) => name === 'replica');
    expect(sink).toMatchObject({ state: 'failed', error: { code, remedy: expect.stringMatching(remedy) as string } });
    await this.expectCalm();
    if (sink === undefined) throw new Error('the hub has no sink replica');
    return sink;
  }

  /** The other source and its sink are at work. */
  async expectCalm(): Promise<void> {
    await this.#calm.query(`INSERT INTO ticks VALUES (${++this.#calmRows})`, [], this.calmDatabase);
    const [row] = await this.#calm.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn', [], this.calmDatabase);
    await this.hub.api.wait('calm-copy', `lsn:${row?.lsn}`, LIMIT_MS, AbortSignal.timeout(LIMIT_MS));
    expect(await this.#calm.query('SELECT count(*)::int AS n FROM ticks', [], this.calmCopyDatabase)).toEqual([{ n: this.#calmRows }]);
  }

  /** `tidemark source resync shop`, as the error says. */
  async resync(): Promise<void> {
    this.#gapAfter = (await this.hub.source('shop')).highWatermark;
    expect(await this.command('source', 'resync', 'shop')).toMatchObject({ code: 0, stderr: '' });
  }

  /** What the error of a sink that has diverged asks for, at the sink of the calm source. */
  async emptyCalm(): Promise<void> {
    await this.#calm.query("TRUNCATE ticks; DELETE FROM tidemark.checkpoint WHERE sink = 'calm-copy'", [], this.calmCopyDatabase);
  }

  /** Everything is well, and the replica has what the source has. */
  async expectEqual(source = this.source, replica = this.replica): Promise<void> {
    await this.hub.until('source and sink are well', (status) => this.#isWell(status), LIMIT_MS);
    const [row] = await source.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn', [], this.sourceDatabase);
    await this.hub.api.wait('replica', `lsn:${row?.lsn}`, LIMIT_MS, AbortSignal.timeout(LIMIT_MS));
    const compared = await compareDatabases(source.url(this.sourceDatabase), replica.url(this.replicaDatabase));
    expect(compared.filter(({ equal }) => !equal)).toEqual([]);
    expect(compared.length).toBeGreaterThanOrEqual(2);
    await this.expectCalm();
  }

  #isWell({ sources, sinks }: HubStatus): boolean {
    const source = sources.find(({ name }) => name === 'shop');
    const sink = sinks.find(({ name }) => name === 'replica');
    const tables = source?.tables.filter(({ state }) => state !== 'removed') ?? [];
    const copied = tables.length >= 2 && tables.every(({ state, since }) => state === 'consistent' && since > this.#gapAfter);
    return source?.state === 'streaming' && copied && sink?.state === 'caught-up';
  }

  /** `tidemark run --until-caught-up` in the stopped hub's folder: a job that must say what is wrong. */
  runJob(): Promise<CommandResult> {
    return this.command('run', '--until-caught-up', '--log-level', 'error');
  }

  /** Waits until nobody reads from the slot. */
  async slotFree(): Promise<void> {
    await expect.poll(() => this.source.query(`SELECT 1 FROM pg_replication_slots WHERE slot_name = '${this.slot}' AND active`), { timeout: LIMIT_MS }).toEqual([]);
  }

  /** A copy of the stopped hub's folder. */
  async backUp(): Promise<void> {
    await cp(join(this.directory, 'data'), join(this.directory, 'backup'), { recursive: true, filter: (path) => !path.endsWith('.sock') });
  }

  async restore(): Promise<void> {
    await rm(join(this.directory, 'data'), { recursive: true });
    await rename(join(this.directory, 'backup'), join(this.directory, 'data'));
  }

  async writeConfig(config: Readonly<Record<string, unknown>>): Promise<void> {
    await writeHubConfig(this.directory, config);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#hub?.[Symbol.asyncDispose]();
    await this.disk?.[Symbol.asyncDispose]();
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** A server's files as they are now, put back later: a restore to an earlier moment. The server is stopped for each. */
export async function fileCopy(server: PostgresServer): Promise<{ restore(): Promise<void> }> {
  const copy = join(server.directory, 'copy');
  await server.stop('fast');
  await cp(server.dataDir, copy, { recursive: true, preserveTimestamps: true });
  await own(server, copy);
  await server.start();
  return {
    async restore() {
      await server.stop('fast');
      await rm(server.dataDir, { recursive: true });
      await rename(copy, server.dataDir);
    },
  };
}

/** `standby`, with whatever it had replaced, follows `primary` by a physical slot of its name. Both run. */
export async function follow(standby: PostgresServer, primary: PostgresServer): Promise<void> {
  await primary.query("SELECT pg_create_physical_replication_slot('standby')");
  await Promise.all([primary.stop('fast'), standby.stop('fast')]);
  await rm(standby.dataDir, { recursive: true });
  await cp(primary.dataDir, standby.dataDir, { recursive: true });
  await own(standby, standby.dataDir);
  const settings = [
    `primary_conninfo = 'host=127.0.0.1 port=${primary.port} user=postgres dbname=postgres'`,
    "primary_slot_name = 'standby'", 'hot_standby_feedback = on', 'sync_replication_slots = on',
  ];
  await standby.addFile('postgresql.auto.conf', `${settings.join('\n')}\n`);
  await standby.addFile('standby.signal', '');
  await primary.start();
  await standby.start();
}

async function own(server: PostgresServer, directory: string): Promise<void> {
  const { user } = server.binaries;
  if (user !== null) await promisify(execFile)('chown', ['-R', `${user.uid}:${user.gid}`, directory]);
  await promisify(execFile)('chmod', ['700', directory]);
}
