import { TidemarkError, type ErrorWhere } from '../../contracts/errors/error.ts';
import type { ErrorCode } from '../../contracts/errors/catalogue.ts';
import { ReplyError, type Reply } from './resp/reply-reader.ts';

/** By the first word of what the server says. Whatever is not here is about the data. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  OOM: 'REDIS_FULL',
  READONLY: 'REDIS_UNAVAILABLE',
  LOADING: 'REDIS_UNAVAILABLE',
  MASTERDOWN: 'REDIS_UNAVAILABLE',
  MISCONF: 'REDIS_UNAVAILABLE',
  NOREPLICAS: 'REDIS_UNAVAILABLE',
  BUSY: 'REDIS_UNAVAILABLE',
  CLUSTERDOWN: 'REDIS_UNAVAILABLE',
  TRYAGAIN: 'REDIS_UNAVAILABLE',
  MOVED: 'REDIS_UNAVAILABLE',
  ASK: 'REDIS_UNAVAILABLE',
  UNBLOCKED: 'REDIS_UNAVAILABLE',
  NOAUTH: 'REDIS_DENIED',
  WRONGPASS: 'REDIS_DENIED',
  NOPERM: 'REDIS_DENIED',
  CROSSSLOT: 'REDIS_SERVER',
  WRONGTYPE: 'REDIS_KEY_TYPE',
};

/** An error of the server as Tidemark's. The text is the server's own, cut to a line; it names no values. */
export function serverError(text: string, address: string, where: ErrorWhere = {}): TidemarkError {
  const said = text.length > 300 ? `${text.slice(0, 300)}...` : text;
  return new TidemarkError(codeOf(text), `${address} answers: ${said}`, { where });
}

function codeOf(text: string): ErrorCode {
  const word = text.split(' ', 1)[0] ?? '';
  const code = CODES[word];
  if (code !== undefined) return code;
  if (/invalid password|AUTH .*without any password|no password is set/i.test(text)) return 'REDIS_DENIED';
  if (/unknown command|unknown subcommand/i.test(text)) return 'REDIS_SERVER';
  if (/max number of clients reached/i.test(text)) return 'REDIS_UNAVAILABLE';
  // RedisJSON says so in words of its own.
  if (/wrong Redis type/i.test(text)) return 'REDIS_KEY_TYPE';
  return 'SINK_DATA';
}

/** The reply, unless it is an error. @throws TidemarkError */
export function accepted(reply: Reply, address: string): Exclude<Reply, ReplyError> {
  if (reply instanceof ReplyError) throw serverError(reply.text, address);
  return reply;
}

/** A reply that must be an array. @throws TidemarkError */
export function arrayOf(reply: Reply, address: string): Reply[] {
  const value = accepted(reply, address);
  if (!Array.isArray(value)) throw new TidemarkError('REDIS_PROTOCOL', `${address} gave something else than a list`);
  return value;
}

/** A reply that must be bytes. @throws TidemarkError */
export function bytesOf(reply: Reply, address: string): Buffer {
  const value = accepted(reply, address);
  if (Buffer.isBuffer(value)) return value;
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  throw new TidemarkError('REDIS_PROTOCOL', `${address} gave something else than bytes`);
}
