import type { IncomingHttpHeaders } from 'node:http';

const LOOPBACK = /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?$/;

/**
 * Why a request may not be answered, or null. Whoever reaches a loopback address need not be a user of this machine: a
 * page in a browser can send requests to it. Its own name in `Host` (a name that was made to point here) or another
 * `Origin` give it away.
 */
export function refusalOf(headers: IncomingHttpHeaders): string | null {
  const { host, origin } = headers;
  if (host === undefined || !LOOPBACK.test(host)) return 'the Host of the request is not a loopback address';
  if (origin !== undefined && origin !== `http://${host}`) return 'the request comes from a page of another origin';
  return null;
}
