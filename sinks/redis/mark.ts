import { checkedOffset } from '../../contracts/offset.ts';
import { cursorOf, cursorText, type Progress } from './checkpoint.ts';

/** What a primary of a plain cluster keeps beside its rows. */
export interface Mark {
  readonly progress: Progress;
  /** The shape of the rows that it had last heard of. */
  readonly shape: string;
}

/** `offset epoch position shape cursor` */
export function printMark({ progress: { offset, epoch, position, cursor }, shape }: Mark): string {
  return `${offset} ${epoch} ${Buffer.from(position).toString('hex')} ${shape} ${cursorText(cursor)}`;
}

export function parseMark(text: string): Mark {
  const [offset = '', epoch = '', position = '', shape = '', cursor = ''] = text.split(' ');
  return { progress: { offset: checkedOffset(Number(offset)), epoch, position: Buffer.from(position, 'hex'), cursor: cursorOf(cursor) }, shape };
}
