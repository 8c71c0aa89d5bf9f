/** One group of events once more, by a connection of its own: rows of a prepared XA transaction that were not kept. */
import type { BinlogHandler } from '../binlog/binlog-handler.ts';
import { BinlogReader } from '../binlog/binlog-reader.ts';
import type { PreparedXa } from '../prepared-xa.ts';
import { BinlogDump, type DumpOptions } from '../wire/dump.ts';
import type { Login } from '../../../contracts/types/mysql-login.ts';

export interface ReadAgainParts {
  readonly login: Login;
  readonly options: Omit<DumpOptions, 'start'>;
  readonly maxEventBytes: number;
  /** The dump, as long as it runs: for back-pressure. */
  readonly running: (dump: BinlogDump | null) => void;
}

/** Hands the events of the group to `handler`; resolves behind its end. @throws TidemarkError as BinlogDump */
export async function readAgain({ file, offset }: PreparedXa, handler: BinlogHandler, parts: ReadAgainParts, signal: AbortSignal): Promise<void> {
  const whole = Promise.withResolvers<void>();
  let groups = 0;
  // Behind the group only its end is of interest.
  const within = (): boolean => groups === 1;
  const begins = (): void => {
    groups++;
    if (groups > 1) whole.resolve();
  };
  const reader: BinlogReader = new BinlogReader(
    {
      ...handler,
      gtid: begins,
      mariadbGtid: begins,
      tableMap: (map) => void (within() && handler.tableMap(map)),
      rows: (rows, map) => void (within() && handler.rows(rows, map)),
      rowsTooLarge: (map, bytes) => void (within() && handler.rowsTooLarge(map, bytes)),
      xaPrepare: () => {
        groups = 2;
        whole.resolve();
      },
    },
    { file, position: offset, maxEventBytes: parts.maxEventBytes },
  );
  await using dump = await BinlogDump.begin(parts.login, reader, { ...parts.options, start: { by: 'file', file, offset } }, signal);
  parts.running(dump);
  try {
    // A dump that ends without an error was aborted.
    await Promise.race([whole.promise, dump.ended.then(() => signal.throwIfAborted())]);
  } finally {
    parts.running(null);
  }
}
