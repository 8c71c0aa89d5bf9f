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

export function statusOf(code: ErrorCode): number {
  if (code === 'API_REQUEST' || code.startsWith('CONFIG_') || code === 'POSITION_SYNTAX' || code === 'OFFSET_RANGE') return 400;
  if (code === 'SOURCE_UNKNOWN' || code === 'SINK_UNKNOWN' || code === 'TABLE_UNKNOWN') return 404;
  if (code === 'WAIT_TIMEOUT') return 504;
  if (code === 'ABORTED') return 503;
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
