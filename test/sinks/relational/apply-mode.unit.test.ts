import { expect, test } from 'vitest';
import { type ApplyMode, firstMode, type ModeTraits, nextMode } from '../../../sinks/relational/apply-mode.ts';

/** Every mode that a table goes through when each one fails. */
function ladder(traits: ModeTraits, optimism = 0): ApplyMode[] {
  const modes: ApplyMode[] = [];
  for (let mode: ApplyMode | null = firstMode(traits, optimism); mode !== null; mode = nextMode(mode, traits)) modes.push(mode);
  return modes;
}

test.each<[ModeTraits, number, ApplyMode[]]>([
  [{ keyed: true, copying: false, canUpsert: true, onlyNew: false }, 0, ['upsert', 'replace']],
  [{ keyed: true, copying: false, canUpsert: false, onlyNew: false }, 0, ['replace']],
  [{ keyed: true, copying: false, canUpsert: false, onlyNew: true }, 0, ['upsert', 'replace']],
  [{ keyed: true, copying: true, canUpsert: false, onlyNew: true }, 3, ['upsert', 'replace', 'clear']],
  [{ keyed: true, copying: true, canUpsert: true, onlyNew: false }, 0, ['optimistic', 'upsert', 'replace', 'clear']],
  [{ keyed: true, copying: true, canUpsert: true, onlyNew: false }, 3, ['upsert', 'replace', 'clear']],
  [{ keyed: true, copying: true, canUpsert: false, onlyNew: false }, 0, ['optimistic', 'replace', 'clear']],
  [{ keyed: false, copying: false, canUpsert: false, onlyNew: false }, 0, ['upsert']],
  [{ keyed: false, copying: true, canUpsert: false, onlyNew: false }, 0, ['upsert', 'clear']],
])('%o, pause %d: %o', (traits, pause, expected) => {
  expect(ladder(traits, pause)).toEqual(expected);
});
