/** `check` where the address names several hosts: the one that the stream would take, and those that it would go on at. */
import { asTidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import { formatMysqlHost } from '../../contracts/types/mysql-address.ts';
import { findServer } from './find-server.ts';
import type { BinlogPlace } from './position.ts';
import type { Endpoint, Session } from './session.ts';

/** Of its tables, and of where the log is, the server that is used speaks: another one may be a moment behind. */
function isOfServer({ severity, code, table }: Finding): boolean {
  return severity !== 'ok' && table === undefined && code !== 'tables' && code !== 'position';
}

/**
 * The findings of the server that is used, and warnings for the others.
 * @param look what is found at a server
 * @throws TidemarkError when no server can be asked; `ABORTED`
 */
export async function checkHosts(endpoint: Endpoint, place: BinlogPlace | null, look: (session: Session) => Promise<Finding[]>, signal: AbortSignal): Promise<Finding[]> {
  await using used = await usedServer(endpoint, place, signal);
  const findings = await look(used);
  for (const host of await endpoint.hosts()) {
    const name = formatMysqlHost(host);
    if (name === formatMysqlHost(used.host)) continue;
    try {
      await using session = await endpoint.open(signal, { only: host });
      const found = (await look(session)).filter(isOfServer);
      findings.push(...found.map((finding): Finding => ({ ...finding, severity: 'warning', what: `${name}, another host of the address: ${finding.what}` })));
    } catch (failure) {
      const error = asTidemarkError(failure, 'INTERNAL');
      if (error.code === 'ABORTED') throw error;
      findings.push({ severity: 'warning', code: 'host', what: `${name}, another host of the address, cannot take over: ${error.message}`, remedy: error.remedy });
    }
  }
  return findings;
}

/** As the stream takes it; where it would take none, the first that answers says why. */
async function usedServer(endpoint: Endpoint, place: BinlogPlace | null, signal: AbortSignal): Promise<Session> {
  try {
    return (await findServer(endpoint, place, signal)).session;
  } catch (failure) {
    if (asTidemarkError(failure, 'INTERNAL').code === 'ABORTED') throw failure;
    return await endpoint.open(signal);
  }
}
