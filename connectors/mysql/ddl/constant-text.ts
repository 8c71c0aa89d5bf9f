import type { DataType } from './data-type.ts';
import { isIntegerBase } from './data-type.ts';
import type { Literal } from './literal.ts';
import { labelOf } from './type-text.ts';

const MAX_BITS = 64;

/**
 * The canonical text of a constant as a value of the type; null where what the server makes of it is not sure (it
 * rounds, or depends on the session): then it counts as an expression. `type`: with COLUMN_TYPE's own word as its base.
 */
export function constantText(constant: Literal, type: DataType, printed: string): string | null {
  const { base } = type;
  if (isIntegerBase(base)) return integerText(constant);
  switch (base) {
    case 'year':
      return yearText(constant);
    case 'decimal':
      return decimalText(constant, type.scale ?? 0);
    case 'float':
    case 'double':
      return type.scale === null ? floatText(constant) : null;
    case 'bit':
      return bitText(constant, type.length ?? 1);
    case 'date':
      return textMatching(constant, /^\d{4}-\d\d-\d\d$/);
    case 'time':
      return momentText(textMatching(constant, /^-?\d{2,3}:\d\d:\d\d(?:\.\d{1,6})?$/), type.length ?? 0);
    case 'datetime':
      return momentText(dateTime(textMatching(constant, /^\d{4}-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d{1,6})?)?$/)), type.length ?? 0);
    case 'enum':
    case 'set':
      return memberText(constant, type);
    case 'char':
    case 'varchar':
    case 'tinytext':
    case 'text':
    case 'mediumtext':
    case 'longtext':
    case 'binary':
    case 'varbinary':
    case 'tinyblob':
    case 'blob':
    case 'mediumblob':
    case 'longblob':
      return printed.includes('b') ? bytesText(constant, printed) : stringText(constant, base === 'char');
    default:
      return null;
  }
}

/** What a column that is NOT NULL and has no default gets in the rows that are there; null where that is not sure. */
export function implicitText(type: DataType, printed: string): string | null {
  const { base } = type;
  if (isIntegerBase(base) || base === 'year' || base === 'float' || base === 'double') return '0';
  switch (base) {
    case 'decimal':
      return decimalText({ kind: 'number', text: '0' }, type.scale ?? 0);
    case 'bit':
      return '0'.repeat(type.length ?? 1);
    case 'date':
      return '0000-00-00';
    case 'datetime':
      return '0000-00-00 00:00:00';
    case 'timestamp':
      return '0000-00-00 00:00:00+00';
    case 'time':
      return '00:00:00';
    case 'set':
      return '';
    case 'enum':
      return type.members[0] === undefined ? null : labelOf(type.members[0]);
    default:
      return constantText({ kind: 'text', text: '', charset: null }, type, printed);
  }
}

function integerText(constant: Literal): string | null {
  if (constant.kind === 'bits') return constant.bits.length > MAX_BITS ? null : BigInt(`0b0${constant.bits}`).toString();
  const digits = numeric(constant, /^[+-]?\d{1,80}$/);
  return digits === null ? null : BigInt(digits.replace('+', '')).toString();
}

function numeric(constant: Literal, form: RegExp): string | null {
  const text = constant.kind === 'number' ? constant.text : constant.kind === 'text' ? constant.text.trim() : '';
  return form.test(text) ? text : null;
}

function yearText(constant: Literal): string | null {
  const digits = numeric(constant, /^\d{4}$|^0$/);
  return digits === null || (constant.kind === 'text' && digits === '0') ? null : String(Number(digits));
}

function decimalText(constant: Literal, scale: number): string | null {
  const text = numeric(constant, /^[+-]?(?:\d+\.?\d*|\.\d+)$/);
  if (text === null) return null;
  const [whole = '', fraction = ''] = text.replace(/^[+-]/, '').split('.');
  if (fraction.length > scale) return null;
  const digits = `${whole.replace(/^0+(?=\d)/, '') || '0'}${scale === 0 ? '' : `.${fraction.padEnd(scale, '0')}`}`;
  const zero = !/[1-9]/.test(digits);
  return text.startsWith('-') && !zero ? `-${digits}` : digits;
}

/** Numbers of few digits are the same in single and double precision, and print as they are written. */
function floatText(constant: Literal): string | null {
  const text = numeric(constant, /^[+-]?\d{1,6}(?:\.\d{1,5})?$/);
  if (text === null || text.replace(/[^\d]/g, '').length > 6) return null;
  const value = Number(text);
  return value === 0 || Math.abs(value) < 1e-4 ? (text.startsWith('-') || value !== 0 ? null : '0') : String(value);
}

function bitText(constant: Literal, length: number): string | null {
  const bits = constant.kind === 'bits' ? constant.bits : numeric(constant, /^\d{1,20}$/);
  if (bits === null || constant.kind === 'text') return null;
  const plain = constant.kind === 'bits' ? bits.replace(/^0+/, '') : BigInt(bits).toString(2);
  return plain.length > length ? null : plain.padStart(length, '0');
}

function textMatching(constant: Literal, form: RegExp): string | null {
  return constant.kind === 'text' && form.test(constant.text) ? constant.text : null;
}

function dateTime(text: string | null): string | null {
  return text === null || text.includes(' ') ? text : `${text} 00:00:00`;
}

/** Zeros at the end of the fraction are not printed; digits beyond the column's are rounded, which is left to the server. */
function momentText(text: string | null, digits: number): string | null {
  if (text === null) return null;
  const fraction = (text.split('.')[1] ?? '').replace(/0+$/, '');
  if (fraction.length > digits) return null;
  return (text.split('.')[0] ?? '') + (fraction === '' ? '' : `.${fraction}`);
}

function memberText(constant: Literal, type: DataType): string | null {
  if (!isPlainText(constant)) return null;
  const labels = type.members.map(labelOf);
  const text = constant.text.replace(/ +$/, '');
  if (labels.includes(text)) return text;
  if (type.base === 'enum') return null;
  const members = text === '' ? [] : text.split(',');
  const ordered = members.every((member, index) => labels.includes(member) && (index === 0 || labels.indexOf(member) > labels.indexOf(members[index - 1] ?? '')));
  return ordered ? text : null;
}

/** Text whose characters are surely those of the statement: not bytes under another character set's name. */
function isPlainText(constant: Literal): constant is Literal & { kind: 'text' } {
  if (constant.kind !== 'text' || constant.text.includes('\ufffd')) return false;
  const { charset } = constant;
  return charset === null || charset.startsWith('utf8') || (isAscii(constant.text) && !/^(?:ucs2|utf16|utf16le|utf32)$/.test(charset));
}

function isAscii(text: string): boolean {
  return !/[^\x20-\x7e]/.test(text);
}

function stringText(constant: Literal, fixed: boolean): string | null {
  if (constant.kind === 'number') return /^-?(?:0|[1-9]\d*)$/.test(constant.text) ? constant.text : null;
  if (!isPlainText(constant)) return null;
  return fixed ? constant.text.replace(/ +$/, '') : constant.text;
}

function bytesText(constant: Literal, printed: string): string | null {
  const bytes = constant.kind === 'hex' ? constant.hex : isPlainText(constant) && isAscii(constant.text) ? Buffer.from(constant.text, 'latin1').toString('hex') : null;
  if (bytes === null) return null;
  const fixed = /^binary\((\d+)\)/.exec(printed)?.[1];
  return `\\x${fixed === undefined ? bytes : bytes.padEnd(Number(fixed) * 2, '0')}`;
}
