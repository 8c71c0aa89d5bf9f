/** Between errors and what the API answers. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import { CATALOGUE, type ErrorCode } from '../../contracts/errors/catalogue.ts';
import type { ApiError } from './schemas.ts';

export function errorBody(error: TidemarkError): ApiError {
  return { code: error.code, what: error.message, where: placeOf(error), remedy: error.remedy };
}

/** The fields of `where` that are known. */
export function placeOf(error: TidemarkError): Record<string, string | number> {
  return Object.fromEntries(Object.entries(error.where).filter(([, value]) => value !== undefined));
}

/** The request itself asks for what there is not. */
const BAD_REQUEST: ReadonlySet<ErrorCode> = new Set(['API_REQUEST', 'POSITION_SYNTAX', 'OFFSET_RANGE', 'MOMENT_SYNTAX', 'MOMENT_KEY', 'LOG_BELOW_HORIZON']);

export function statusOf(code: ErrorCode): number {
  if (code.startsWith('CONFIG_') || BAD_REQUEST.has(code)) return 400;
  if (code === 'SOURCE_UNKNOWN' || code === 'SINK_UNKNOWN' || code === 'TABLE_UNKNOWN') return 404;
  if (code.startsWith('REBUILD_')) return 409;
  if (code === 'WAIT_TIMEOUT') return 504;
  if (code === 'ABORTED' || code === 'API_BUSY') return 503;
  return CATALOGUE[code].retry === 'operator' ? 409 : 500;
}

/** The error that an answer tells of; a code that this version does not know becomes `API_ANSWER`. */
export function errorOf({ code, what, where, remedy }: ApiError): TidemarkError {
  return isCode(code)
    ? new TidemarkError(code, what, { where, remedy })
    : new TidemarkError('API_ANSWER', `${code}: ${what}`, { where, remedy });
}

function isCode(code: string): code is ErrorCode {
  return Object.hasOwn(CATALOGUE, code);
}
