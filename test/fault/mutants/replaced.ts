/** Puts a wrong method in the place of a right one, which it is given. */
export function replaced<T extends object, K extends keyof T>(prototype: T, name: K, wrong: (right: T[K]) => T[K]): void {
  prototype[name] = wrong(prototype[name]);
}
