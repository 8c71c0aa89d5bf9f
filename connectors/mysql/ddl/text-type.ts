import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Cursor } from './cursor.ts';
import { type DataType, dataType } from './data-type.ts';

/** What COLUMN_TYPE prints, read again, in the words of either server; null for a type that is not known here. */
export function typeOfText(printed: string): DataType | null {
  const flavor = /^(?:uuid|inet[46]|geometrycollection|xmltype)\b|\/\*M!/.test(printed) ? 'mariadb' : 'mysql';
  const context = { flavor, version: 999_999, database: '', sqlMode: 0n, lowerCaseNames: false, explicitTimestamps: true } as const;
  try {
    return dataType(new Cursor(printed, context));
  } catch (error) {
    if (error instanceof TidemarkError) return null;
    throw error;
  }
}
