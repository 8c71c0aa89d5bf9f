import { type DestinationStream, type Logger as PinoLogger, destination, pino, stdTimeFunctions } from 'pino';
import type { LogLevel, Logger } from '../../contracts/runtime.ts';

export interface LoggerOptions {
  /** Least severe level that is written. Default `info`. */
  readonly level?: LogLevel | 'silent';
  /** Where lines go. Default: standard error, written before `log` returns, so that a crash loses none. */
  readonly to?: DestinationStream;
}

/** One JSON object per line: `time`, `level`, `event`, then the fields. */
export function createLogger(options: LoggerOptions = {}): Logger {
  const root = pino(
    {
      level: options.level ?? 'info',
      base: null,
      messageKey: 'event',
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: pino.stdSerializers.err },
    },
    options.to ?? destination({ dest: 2, sync: true }),
  );
  return wrap(root);
}

function wrap(logger: PinoLogger): Logger {
  return {
    log(level, event, fields) {
      if (fields === undefined) logger[level](event);
      else logger[level](fields, event);
    },
    child: (fields) => wrap(logger.child(fields)),
  };
}
