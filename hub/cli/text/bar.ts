import cliProgress from 'cli-progress';

const BAR_SIZE = 20;

/** A bar of which `part`, 0 to 1, is full. */
export function bar(part: number): string {
  return cliProgress.Format.BarFormat(part, {
    barsize: BAR_SIZE,
    barCompleteString: '█'.repeat(BAR_SIZE),
    barIncompleteString: '░'.repeat(BAR_SIZE),
    barGlue: '',
  });
}
