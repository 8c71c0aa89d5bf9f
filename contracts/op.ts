/** What a record does. Stored as one ASCII byte. */
export const Op = {
  create: 0x63, // c
  update: 0x75, // u
  delete: 0x64, // d
  read: 0x72, // r: a row of a copy
  truncate: 0x74, // t
  schema: 0x73, // s: a table's schema from here on
  message: 0x6d, // m: a logical message
  control: 0x68, // h: control of the hub
} as const;
export type Op = (typeof Op)[keyof typeof Op];

/** 'c', 'u', ... as people read it. */
export function opLetter(op: number): string {
  return String.fromCharCode(op);
}

/** True for the ops that carry a row of a table (c, u, d, r). */
export function isRowOp(op: number): boolean {
  return op === Op.create || op === Op.update || op === Op.delete || op === Op.read;
}

/** True for a byte that is one of the ops. */
export function isOp(op: number): op is Op {
  return isRowOp(op) || op === Op.truncate || op === Op.schema || op === Op.message || op === Op.control;
}

/** Bits of a record's flags. */
export const Flag = {
  /** The after image has placeholders: the source left columns out and they could not be filled in yet. */
  incomplete: 1,
  /** In the log for the order only: not to be applied by a sink nor by a fold. */
  notApplied: 2,
  /** A repetition, inside a copied chunk, of a record that stands earlier in the log. */
  replayed: 4,
  /** One half (d, then c) of an update that changed the key. */
  keyChange: 8,
  /** The row may hold an out-of-line value: the whole-row index must know it. */
  wide: 16,
  /** Of a replayed record on its way into the log: the snapshot of its chunk certainly does not see it. Not in the log. */
  unseen: 32,
} as const;
