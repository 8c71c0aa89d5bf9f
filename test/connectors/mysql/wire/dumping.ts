import { BinlogReader } from '../../../../connectors/mysql/binlog/binlog-reader.ts';
import { BinlogDump, type DumpStart } from '../../../../connectors/mysql/wire/dump.ts';
import { systemClock } from '../../../../hub/runtime/clock.ts';
import type { MysqlServer } from '../../../fixtures/mysql.ts';
import { type Heard, handlerThatNotes } from '../binlog/recorder.ts';
import { endpointOf, never } from '../mysql-source.ts';

export interface Dumping extends AsyncDisposable {
  readonly dump: BinlogDump;
  readonly reader: BinlogReader;
  readonly heard: Heard[];
  /** Resolves when something was heard for which `wanted` holds. Rejects with what the dump failed with. */
  until(wanted: (one: Heard) => boolean): Promise<void>;
}

export interface DumpingOptions {
  readonly start?: DumpStart;
  readonly url?: string;
  readonly serverId?: number;
  readonly replicaUuid?: string;
  readonly heartbeatMs?: number;
  readonly maxEventBytes?: number;
  readonly signal?: AbortSignal;
  /** Called for every event that is heard, from within the handler. */
  readonly onHeard?: (heard: Heard, dumping: () => BinlogDump) => void;
}

let nextServerId = 0x2000_0000;

/** Reads the binlog of a server from its beginning, or from where `start` says. */
export async function startDump(server: MysqlServer, options: DumpingOptions = {}): Promise<Dumping> {
  const heard: Heard[] = [];
  const waiting = new Set<(one: Heard) => void>();
  const state: { dump: BinlogDump | null } = { dump: null };
  const note = (one: Heard): void => {
    heard.push(one);
    options.onHeard?.(one, () => {
      if (state.dump === null) throw new Error('the dump has not begun');
      return state.dump;
    });
    for (const look of waiting) look(one);
  };
  const reader: BinlogReader = new BinlogReader(
    handlerThatNotes(note, () => reader.place),
    { maxEventBytes: options.maxEventBytes ?? 64 << 20 },
  );
  const login = await endpointOf(options.url ?? server.url()).wire(never);
  const id = options.serverId ?? nextServerId++;
  const dump = await BinlogDump.begin(
    login,
    reader,
    {
      flavor: server.flavor,
      start: options.start ?? { by: 'file', file: '', offset: 4 },
      serverId: id,
      replicaUuid: options.replicaUuid ?? `00000000-0000-4000-8000-${id.toString(16).padStart(12, '0')}`,
      heartbeatMs: options.heartbeatMs ?? 30_000,
      clock: systemClock,
    },
    options.signal ?? never,
  );
  state.dump = dump;
  const until = async (wanted: (one: Heard) => boolean): Promise<void> => {
    const met = Promise.withResolvers<void>();
    const look = (one: Heard): void => {
      if (wanted(one)) met.resolve();
    };
    waiting.add(look);
    for (const one of heard) look(one);
    try {
      await Promise.race([met.promise, dump.ended.then(() => Promise.reject(new Error('the dump was ended')))]);
    } finally {
      waiting.delete(look);
    }
  };
  return { dump, reader, heard, until, [Symbol.asyncDispose]: () => dump[Symbol.asyncDispose]() };
}

/** An event of that name, for `until`. */
export function named(what: string): (one: Heard) => boolean {
  return (one) => one.what === what;
}

export function count(heard: readonly Heard[], what: string): number {
  return heard.filter((one) => one.what === what).length;
}
