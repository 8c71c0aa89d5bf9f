import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { readKey } from '../../../../contracts/key.ts';
import { PLACEHOLDER, readImage } from '../../../../contracts/row-image.ts';

/** The values of a key; null when it is none. */
export function keyText(key: Buffer): readonly string[] | null {
  try {
    return readKey(key).map((value) => value.toString('utf8'));
  } catch (error) {
    return damaged(error);
  }
}

/** The cells of an image in order; null when it is none. Bytes as `{"$bytes"}`, what was left out as `{"$absent"}`. */
export function cellsOf(image: Buffer): readonly unknown[] | null {
  try {
    return readImage(image).map((cell) => (cell === PLACEHOLDER ? { $absent: true } : cell instanceof Uint8Array ? { $bytes: Buffer.from(cell).toString('base64') } : cell));
  } catch (error) {
    return damaged(error);
  }
}

function damaged(error: unknown): null {
  if (error instanceof TidemarkError && error.code === 'RECORD_CORRUPT') return null;
  throw error;
}
