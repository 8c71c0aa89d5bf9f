import { TidemarkError } from '../../../contracts/errors/error.ts';

/** A statement that the server ran cannot have been run on the table as it is known here. */
export function doesNotFit(what: string): TidemarkError {
  return new TidemarkError('MYSQL_SHAPE', what);
}
