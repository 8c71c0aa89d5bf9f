import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, resolve } from 'node:path';

/** The project's own files as the tidy rules see them. */
export interface SourceFile {
  /** Relative to the repository, with `/`. */
  readonly path: string;
  readonly text: string;
  /** The same text with comments and the insides of strings blanked, line by line. Of TypeScript files only. */
  readonly code: string;
}

const root = resolve(import.meta.dirname, '../..');

/** Every text file that is tracked, or would be if it were added. */
export function projectFiles(): SourceFile[] {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root });
  const files: SourceFile[] = [];
  for (const path of new Set(listed.toString().split('\0'))) {
    if (path === '' || !existsSync(join(root, path))) continue;
    const bytes = readFileSync(join(root, path));
    if (bytes.subarray(0, 8192).includes(0)) continue;
    const text = bytes.toString();
    files.push({ path, text, code: path.endsWith('.ts') ? blankLiterals(text) : '' });
  }
  return files;
}

/** Modules that a TypeScript file names in import, export ... from and import(): the specifiers as written. */
export function specifiersOf(file: SourceFile): string[] {
  const found: string[] = [];
  for (const match of file.text.matchAll(/^\s*(?:import|export)\b[^;'"`]*?\bfrom\s*['"]([^'"]+)['"]/gm)) found.push(match[1] ?? '');
  for (const match of file.text.matchAll(/^\s*import\s*['"]([^'"]+)['"]/gm)) found.push(match[1] ?? '');
  for (const match of file.text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]/g)) found.push(match[1] ?? '');
  return found;
}

/** The project's file that a relative specifier means; null for packages. */
export function targetOf(file: SourceFile, specifier: string): string | null {
  return specifier.startsWith('.') ? normalize(join(dirname(file.path), specifier)).replaceAll('\\', '/') : null;
}

/** Replaces what stands in comments and strings by spaces; code inside `${}` stays. Lines keep their numbers. */
export function blankLiterals(text: string): string {
  let out = '';
  let at = 0;
  /** One entry per open template: how many braces are open in its present `${}`. */
  const templates: number[] = [];
  const take = (length: number, keep: boolean): void => {
    const part = text.slice(at, at + length);
    out += keep ? part : part.replaceAll(/[^\n]/g, ' ');
    at += length;
  };
  const takeTemplate = (): void => {
    while (at < text.length) {
      if (text[at] === '\\') take(2, false);
      else if (text[at] === '`') return take(1, true);
      else if (text.startsWith('${', at)) {
        templates.push(0);
        return take(2, true);
      } else take(1, false);
    }
  };
  while (at < text.length) {
    const char = text[at];
    if (text.startsWith('//', at)) take(lengthUntil(text, at, '\n'), false);
    else if (text.startsWith('/*', at)) take(lengthUntil(text, at + 2, '*/') + 4, false);
    else if (char === "'" || char === '"') take(stringLength(text, at), false);
    else if (char === '`') {
      take(1, true);
      takeTemplate();
    } else if (char === '}' && templates.at(-1) === 0) {
      templates.pop();
      take(1, true);
      takeTemplate();
    } else {
      const open = templates.length - 1;
      if (open >= 0 && char === '{') templates[open] = (templates[open] ?? 0) + 1;
      if (open >= 0 && char === '}') templates[open] = (templates[open] ?? 0) - 1;
      take(1, true);
    }
  }
  return out;
}

function lengthUntil(text: string, from: number, end: string): number {
  const found = text.indexOf(end, from);
  return (found === -1 ? text.length : found) - from;
}

/** A quote that no quote closes on its line (in a regular expression) is taken as one character. */
function stringLength(text: string, at: number): number {
  const quote = text[at];
  for (let i = at + 1; i < text.length && text[i] !== '\n'; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === quote) return i - at + 1;
  }
  return 1;
}

/** `path:line: what` for each match of the pattern. */
export function hits(file: SourceFile, pattern: RegExp, within: 'text' | 'code' = 'code'): string[] {
  const lines = (within === 'code' ? file.code : file.text).split('\n');
  return lines.flatMap((line, i) => {
    const match = pattern.exec(line);
    return match === null ? [] : [`${file.path}:${i + 1}: ${match[0].trim()}`];
  });
}
