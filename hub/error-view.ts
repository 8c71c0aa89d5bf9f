import type { TidemarkError } from '../contracts/errors/error.ts';
import type { ErrorView } from './service.ts';

/** An error as status and API show it. @param at milliseconds since 1970 */
export function errorView(error: TidemarkError, at: number): ErrorView {
  const where: Record<string, string | number> = {};
  for (const [name, value] of Object.entries<string | number | undefined>({ ...error.where })) {
    if (value !== undefined) where[name] = value;
  }
  return { code: error.code, message: error.message, remedy: error.remedy, at: new Date(at).toISOString(), where };
}
