/** A line of the log for people. Pure. */
import { shortened } from './text-table.ts';

export type LogFormat = 'pretty' | 'json';

const LONGEST_VALUE = 200;

/** `11:02:03 warn  sink.retrying  sink=replica attempt=2` from one line of JSON; other lines as they are. */
export function prettyLine(line: string): string {
  const fields = objectOf(line);
  if (fields === null) return line;
  const { time, level, event, ...rest } = fields;
  const clock = typeof time === 'string' ? time.slice(11, 19) : '';
  const pairs = Object.entries(rest).map(([name, value]) => `${name}=${valueText(value)}`);
  return [clock, textOf(level).padEnd(5), textOf(event), ...pairs].join(' ').trim();
}

function valueText(value: unknown): string {
  const plain = isObject(value) && typeof value['message'] === 'string' ? value['message'] : value;
  const text = typeof plain === 'string' ? plain : JSON.stringify(plain);
  const short = shortened(text, LONGEST_VALUE);
  return /[\s="]/.test(short) ? JSON.stringify(short) : short;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function objectOf(line: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
