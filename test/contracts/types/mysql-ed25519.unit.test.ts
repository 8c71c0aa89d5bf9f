import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { publicKeyOf, signWithPassword } from '../../../contracts/types/mysql-ed25519.ts';

test('what MariaDB keeps of a password', () => {
  // From the manual of the server: IDENTIFIED VIA ed25519 USING PASSWORD('secret').
  expect(publicKeyOf('secret').toString('base64').replace(/=+$/, '')).toBe('ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY');
});

test('signatures are those of the runtime, which verifies all and makes those of 32 bytes', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), fc.uint8Array({ minLength: 32, maxLength: 32 }), (password, message) => {
    const key = createPublicKey({ key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), publicKeyOf(password)]), format: 'der', type: 'spki' });
    expect(verify(null, message, key, signWithPassword(password, message))).toBe(true);
  }), { numRuns: 20 });
  fc.assert(fc.property(fc.string({ unit: 'grapheme-ascii', minLength: 32, maxLength: 32 }), fc.uint8Array({ maxLength: 70 }), (password, message) => {
    const key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.from(password)]), format: 'der', type: 'pkcs8' });
    expect(signWithPassword(password, message)).toEqual(sign(null, message, key));
  }), { numRuns: 20 });
});
