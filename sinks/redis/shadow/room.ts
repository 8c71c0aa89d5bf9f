/** Whether the server has room for a second set of the sink's rows. Pure. */
import type { Finding } from '../../../contracts/finding.ts';

export interface ServerRoom {
  /** Bytes: of everything, and of the keys with their values. */
  readonly used: number;
  readonly dataset: number;
  /** Bytes; 0: no limit. */
  readonly limit: number;
  readonly policy: string;
  readonly allKeys: number;
  readonly liveKeys: number;
  /** Of a shadow that is there already. */
  readonly shadowKeys: number;
}

export function readRoom(info: ReadonlyMap<string, string>, live: number, shadow: number): ServerRoom {
  const keysOf = (text: string | undefined): number => Number(/^keys=(\d+)/.exec(text ?? '')?.[1] ?? 0);
  const number = (name: string): number => Number(info.get(name) ?? 0);
  let allKeys = 0;
  for (const [name, text] of info) if (/^db\d+$/.test(name)) allKeys += keysOf(text);
  return {
    used: number('used_memory'), dataset: number('used_memory_dataset'), limit: number('maxmemory'), policy: info.get('maxmemory_policy') ?? 'noeviction',
    allKeys, liveKeys: keysOf(info.get(`db${live}`)), shadowKeys: keysOf(info.get(`db${shadow}`)),
  };
}

/** Bytes that are still to come beside what is there, about: keys of other databases count as if they were as large. */
export function neededBytes({ dataset, allKeys, liveKeys, shadowKeys }: ServerRoom): number {
  return allKeys === 0 ? 0 : Math.round((dataset * Math.max(0, liveKeys - shadowKeys)) / allKeys);
}

/** Why the server must not be filled further, whatever it has room for; null: it may. */
export function evicts({ limit, policy }: ServerRoom): string | null {
  if (limit === 0 || !policy.startsWith('allkeys')) return null;
  return `the server evicts keys when its memory is full (maxmemory-policy ${policy}): a second set would drive out rows that are served`;
}

export function roomFinding(room: ServerRoom): Finding {
  const needed = neededBytes(room);
  const { used, limit, policy } = room;
  const what = `until the swap the server holds a second set of rows, of about ${printSize(needed)} beside the ${printSize(used)} in use`;
  if (limit === 0) return { severity: 'ok', code: 'rebuild-memory', what: `${what}; it has no \`maxmemory\``, remedy: '' };
  const limited = `${what}; \`maxmemory\` is ${printSize(limit)}`;
  if (used + needed > limit) {
    const remedy = `Run \`CONFIG SET maxmemory ${used + 2 * needed}\`, or take \`shadow_db\` out of the sink: it is then rebuilt in place.`;
    return { severity: 'error', code: 'rebuild-memory', what: limited, remedy };
  }
  if (policy === 'noeviction') return { severity: 'ok', code: 'rebuild-memory', what: limited, remedy: '' };
  return { severity: 'warning', code: 'rebuild-memory', what: `${limited}, and its policy is ${policy}: rows that expire may be evicted`, remedy: 'Run `CONFIG SET maxmemory-policy noeviction`.' };
}

function printSize(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let size = bytes;
  let unit = 0;
  for (; size >= 1024 && unit < units.length - 1; unit++) size /= 1024;
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`;
}
