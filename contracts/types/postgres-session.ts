/**
 * The session settings under which Postgres prints canonical text and reads it back. Connector and sink sessions use the
 * same ones, so that a value has the same bytes in a snapshot, in the stream and at a replica.
 */
export const CANONICAL_SETTINGS: ReadonlyMap<string, string> = new Map([
  ['client_encoding', 'UTF8'],
  ['DateStyle', 'ISO, YMD'],
  ['IntervalStyle', 'iso_8601'],
  ['TimeZone', 'UTC'],
  ['extra_float_digits', '3'],
  ['bytea_output', 'hex'],
  ['lc_monetary', 'C'],
  ['xmloption', 'content'],
  ['search_path', ''],
  ['row_security', 'off'],
]);

/** The settings as statements: `SET DateStyle = 'ISO, YMD'; ...`. */
export function canonicalSettingsSql(): string {
  return [...CANONICAL_SETTINGS].map(([name, value]) => `SET ${name} = '${value}'`).join('; ');
}
