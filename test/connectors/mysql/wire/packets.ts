const FULL = 0xff_ffff;

/** Messages as a server sends them, numbered from `first` on. */
export function packetsOf(messages: readonly Buffer[], first: number): Buffer {
  const parts: Buffer[] = [];
  let number = first;
  for (const message of messages) {
    for (let at = 0; ; at += FULL) {
      const content = message.subarray(at, at + FULL);
      const head = Buffer.alloc(4);
      head.writeUIntLE(content.length, 0, 3);
      head[3] = number++ & 0xff;
      parts.push(head, content);
      if (content.length < FULL) break;
    }
  }
  return Buffer.concat(parts);
}
