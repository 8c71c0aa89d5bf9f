import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { formatLsn, identityOfPosition, lsnOfPosition, parseLsn, postgresPositions, PositionWriter } from '../../../connectors/postgres/position.ts';

const lsn = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const writer = new PositionWriter({ systemId: '7300000000000000001', timeline: 3 });

describe('positions', () => {
  it('are read as they were written', () => {
    fc.assert(fc.property(lsn, (value) => {
      const position = writer.at(value);
      expect(lsnOfPosition(position)).toBe(value);
      expect(identityOfPosition(position)).toEqual({ systemId: '7300000000000000001', timeline: 3 });
      expect(parseLsn(formatLsn(value))).toBe(value);
      expect(lsnOfPosition(postgresPositions.parse(`lsn:${postgresPositions.format(position)}`, position))).toBe(value);
    }));
  });

  it('are ordered by LSN, whatever the timeline', () => {
    const later = new PositionWriter({ systemId: '7300000000000000001', timeline: 4 });
    fc.assert(fc.property(lsn, lsn, (a, b) => {
      expect(Math.sign(postgresPositions.compare(writer.at(a), later.at(b)))).toBe(Math.sign(a - b));
    }));
  });

  it('of two systems are not compared', () => {
    const other = new PositionWriter({ systemId: '7300000000000000002', timeline: 3 });
    expect(() => postgresPositions.compare(writer.at(1), other.at(1))).toThrow(expect.objectContaining({ code: 'POSITION_FOREIGN' }));
  });

  it.each(['', '0', '0/', '/0', 'G/0', '0/16B3748x', '123456789/0', 'FFFFFFFF/0'])('%j is not an LSN', (text) => {
    expect(() => parseLsn(text)).toThrow(TidemarkError);
  });
});
