import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** What the server says of an event: its name, where it begins and ends, server id, details for people. */
export interface DescribedEvent {
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly serverId: number;
  readonly info: string;
}

export interface GoldenLog {
  readonly version: string;
  readonly scenario: string;
  readonly isMariadb: boolean;
  readonly file: string;
  readonly bytes: Buffer;
  readonly events: readonly DescribedEvent[];
  /** Rows of a table as they were at the end, values as text. */
  readonly tables: Readonly<Record<string, readonly Readonly<Record<string, string | null>>[]>>;
}

interface Description {
  readonly file: string;
  readonly tables: GoldenLog['tables'];
  readonly events: readonly (readonly [string, number, number, number, string])[];
}

/** Of every server version and scenario that was recorded (record.ts). */
export function goldenLogs(): GoldenLog[] {
  const versions = readdirSync(import.meta.dirname, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return versions.flatMap(({ name: version }) => {
    const folder = join(import.meta.dirname, version);
    const scenarios = readdirSync(folder).filter((name) => name.endsWith('.json'));
    return scenarios.map((name) => goldenLog(version, name.slice(0, -'.json'.length)));
  });
}

export function goldenLog(version: string, scenario: string): GoldenLog {
  const folder = join(import.meta.dirname, version);
  const description = JSON.parse(readFileSync(join(folder, `${scenario}.json`), 'utf8')) as Description;
  return {
    version,
    scenario,
    isMariadb: version.startsWith('mariadb'),
    file: description.file,
    bytes: gunzipSync(readFileSync(join(folder, `${scenario}.binlog.gz`))),
    events: description.events.map(([event, start, end, serverId, info]) => ({ name: event, start, end, serverId, info })),
    tables: description.tables,
  };
}

const MAGIC = 4;
const LENGTH_AT = 9;

/** Where each event of a log file begins and ends. */
export function eventSpans(bytes: Buffer): { start: number; end: number }[] {
  const spans: { start: number; end: number }[] = [];
  for (let at = MAGIC; at < bytes.length; ) {
    const end = at + bytes.readUInt32LE(at + LENGTH_AT);
    spans.push({ start: at, end });
    at = end;
  }
  return spans;
}
