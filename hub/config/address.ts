/** An address that the HTTP API may listen on. */
export interface LoopbackAddress {
  /** Without brackets. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

/** `127.0.0.1:7400`, `[::1]:7400`, `localhost:7400`; null for what is no loopback address with a port. */
export function parseLoopback(text: string): LoopbackAddress | null {
  const [, host, digits] = /^(\[::1\]|localhost|127(?:\.[0-9]{1,3}){3}):([0-9]{1,5})$/.exec(text) ?? [];
  if (host === undefined || digits === undefined) return null;
  const port = Number(digits);
  if (port > 65_535 || host.split('.').some((part) => /^[0-9]+$/.test(part) && Number(part) > 255)) return null;
  return { host: host === '[::1]' ? '::1' : host, port };
}
