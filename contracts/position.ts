/**
 * The source's own coordinate (Postgres: system identifier, timeline, LSN; MySQL: server UUID, GTID set, file:pos).
 * Opaque outside its connector: only the connector's {@link PositionCodec} compares or prints one. Immutable.
 */
export type Position = Uint8Array & { readonly __position?: never };

/** What a connector knows about its positions. Pure functions, usable without a connection. */
export interface PositionCodec {
  /**
   * Negative, 0 or positive as `a` comes before, at or after `b`.
   * @throws TidemarkError `POSITION_FOREIGN` when the two cannot be compared (another system identifier or server).
   */
  compare(a: Position, b: Position): number;
  /**
   * For people: `0/16B3748`, `uuid:1-77`.
   * @throws TidemarkError `POSITION_SYNTAX` when the bytes are no position of this connector
   */
  format(position: Position): string;
  /**
   * Bytes of the source's own log from `a` to `b`; negative when `b` comes before. Absent where positions do not count
   * bytes. @throws TidemarkError `POSITION_FOREIGN`
   */
  distance?(a: Position, b: Position): number;
  /**
   * A position named by a user (`lsn:0/16B3748`), completed with the identity of `like`.
   * @throws TidemarkError `POSITION_SYNTAX`
   */
  parse(text: string, like: Position): Position;
}
