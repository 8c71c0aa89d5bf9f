import type { ErrorCode } from '../../contracts/errors/catalogue.ts';
import { type TidemarkError, asTidemarkError } from '../../contracts/errors/error.ts';
import { errorBody } from '../api/answers.ts';
import { note, type CliContext } from './context.ts';

/** How a command ends: 0 ok, 1 failed, 2 usage or configuration. */
export type ExitCode = 0 | 1 | 2;

const USAGE: ReadonlySet<ErrorCode> = new Set(['USAGE', 'POSITION_SYNTAX', 'MOMENT_SYNTAX', 'MOMENT_KEY']);

function exitCodeOf(error: TidemarkError): ExitCode {
  return USAGE.has(error.code) || error.code.startsWith('CONFIG_') ? 2 : 1;
}

/** Set by a command that has done its work and still has to say that not all is well. */
export interface Outcome {
  exitCode: ExitCode;
}

/** Several things are wrong at once, each worth a line of its own. */
export class Problems extends Error {
  readonly problems: readonly TidemarkError[];

  constructor(problems: readonly TidemarkError[]) {
    super(problems.map((problem) => problem.message).join('; '));
    this.problems = problems;
  }
}

/** Prints what went wrong on standard error: for people, or as one JSON object per line. */
export async function reportFailure(failure: unknown, context: CliContext, asJson: boolean): Promise<ExitCode> {
  const errors = failure instanceof Problems ? failure.problems : [asTidemarkError(failure, 'INTERNAL')];
  for (const error of errors) {
    await note(context, asJson ? JSON.stringify(errorBody(error)) : failureText(error));
  }
  return errors.some((error) => exitCodeOf(error) === 2) ? 2 : 1;
}

/** Code and what, then where, then what to do. */
function failureText(error: TidemarkError): string {
  const where = whereText(error);
  return [
    `${error.code}: ${error.message}`,
    ...(where === '' ? [] : [`  where: ${where}`]),
    `  to do: ${error.remedy}`,
  ].join('\n');
}

function whereText(error: TidemarkError): string {
  const { file, line, column, ...rest } = error.where;
  const place = file === undefined ? [] : [[file, line, column].filter((part) => part !== undefined).join(':')];
  const names = Object.entries(rest).flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${value}`]));
  return [...place, ...names].join(', ');
}
