import { expect, test } from 'vitest';
import { writeFloat32, writeFloat64 } from '../../../contracts/types/float-text.ts';
import { startPostgres } from '../../fixtures/embedded-postgres.ts';

/** Bits that are spread over all exponents and mantissas; the second half are decimals of few digits. */
const RANDOM = 100_000;
const into = Buffer.alloc(64);
const words = new DataView(new ArrayBuffer(8));

function bitsOf(index: number): [high: number, low: number] {
  return [Math.imul(index, 0x9e3779b1) >>> 0, Math.imul(index ^ 0x5bd1e995, 0x85ebca6b) >>> 0];
}

function floats(): number[] {
  const powers = Array.from({ length: 277 }, (_, index) => Math.fround(2 ** (index - 149)));
  // Beside a power of two the gaps differ.
  const beside = powers.filter((value) => value > 1e-40).flatMap((value) => [next32(value, 1), next32(value, -1)]);
  const random = Array.from({ length: RANDOM }, (_, index) => {
    words.setUint32(0, bitsOf(index)[0]);
    return words.getFloat32(0);
  });
  const short = Array.from({ length: RANDOM }, (_, index) => Math.fround(((bitsOf(index)[0] % 2_000_000) - 1_000_000) / 10 ** (index % 8)));
  // Its shortest decimal is, as a double, in the middle between it and the next.
  const between = [next32(7.038531e-26, -1), next32(7.038531e-26, 0), Math.fround(7.0385313e-26)];
  return [...powers, ...beside, ...random, ...short, ...between].filter(Number.isFinite);
}

function next32(value: number, step: number): number {
  words.setFloat32(0, value);
  words.setUint32(0, words.getUint32(0) + step);
  return words.getFloat32(0);
}

function doubles(): number[] {
  const powers = Array.from({ length: 2098 }, (_, index) => 2 ** (index - 1074));
  const tens = Array.from({ length: 617 }, (_, index) => Number(`1e${index - 308}`));
  const random = Array.from({ length: RANDOM }, (_, index) => {
    const [high, low] = bitsOf(index);
    words.setUint32(0, high);
    words.setUint32(4, low);
    return words.getFloat64(0);
  });
  const short = Array.from({ length: RANDOM }, (_, index) => {
    const [high, low] = bitsOf(index);
    return (high * 2 ** (index % 22) + (low % 1000)) / 10 ** (index % 12);
  });
  return [...powers, ...tens, ...random, ...short].filter(Number.isFinite);
}

test('floats and doubles have the text that Postgres prints', async () => {
  await using server = await startPostgres();
  await using session = await server.connect('postgres');
  const kinds = [
    { type: 'float4', bits: 32, values: floats(), write: writeFloat32 },
    { type: 'float8', bits: 64, values: doubles(), write: writeFloat64 },
  ] as const;
  for (const { type, values, write } of kinds) {
    const wrong: string[] = [];
    for (let from = 0; from < values.length; from += 20_000) {
      const part = values.slice(from, from + 20_000);
      // Seventeen digits name a double, and nine a float, without doubt.
      const { rows } = await session.query<{ texts: string[] }>(`SELECT array_agg(v::${type}::text ORDER BY n) AS texts FROM unnest($1::text[]) WITH ORDINALITY AS u(v, n)`, [
        part.map((value) => (Object.is(value, -0) ? '-0' : value.toExponential(type === 'float4' ? 8 : 16))),
      ]);
      const texts = rows[0]?.texts ?? [];
      for (const [place, value] of part.entries()) {
        const own = into.toString('latin1', 0, write(into, 0, value));
        if (own !== texts[place]) wrong.push(`${own}, not ${texts[place]}`);
      }
    }
    expect(wrong.slice(0, 20)).toEqual([]);
  }
});
