/** What is wrong with a row. */
import { TidemarkError } from '../../../contracts/errors/error.ts';

export function misread(cell: number): TidemarkError {
  return new TidemarkError('INTERNAL', `the decoder of cell ${cell} ended elsewhere than its value`);
}

export function tooLarge(bytes: number, limit: number): TidemarkError {
  return new TidemarkError('MYSQL_ROW_TOO_LARGE', `a row of ${bytes} bytes is above the limit of ${limit}`);
}
