import { parseBinlogFile, type BinlogPlace } from '../position.ts';
import type { ServerPlace } from '../catalog/catalog-reading.ts';

/**
 * How far the binlog of the server has been handled. While the server looks for where the stream begins it names places
 * before that: they are passed over, so that the place never goes back.
 */
export class ServerPlaces implements ServerPlace {
  file = '';
  offset = 0;

  /** `server`: the one that is read; a place of another one says nothing of its files. */
  constructor(place: BinlogPlace, server: string) {
    if (place.server !== server) return;
    this.file = place.file;
    this.offset = place.offset;
  }

  /** It lies behind what has been handled. */
  isNews(file: string, offset: number): boolean {
    const order = this.file === '' ? 1 : orderOf(file, this.file);
    return file !== '' && (order > 0 || (order === 0 && offset > this.offset));
  }

  /** False: it is no news. */
  move(file: string, offset: number): boolean {
    if (!this.isNews(file, offset)) return false;
    this.file = file;
    this.offset = offset;
    return true;
  }
}

/** A file of another base name is a later one: the setting was changed. */
function orderOf(file: string, known: string): number {
  if (file === known) return 0;
  const [one, two] = [parseBinlogFile(file), parseBinlogFile(known)];
  return one.base === two.base ? one.number - two.number : 1;
}
