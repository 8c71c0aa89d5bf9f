/** The hosts of the address that the sink would go on at once the one that it writes to is gone. */
import type { Finding } from '../../contracts/finding.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import { formatMysqlHost, type MysqlHost, parseMysqlAddress } from '../../contracts/types/mysql-address.ts';
import { type CheckContext, checkServer } from './check.ts';
import { sinkError } from './errors.ts';
import type { Session } from './session.ts';

/**
 * What is wrong with the hosts other than the one of the session: warnings, since nothing goes there yet. One that is read
 * only is a standby: it has what its primary has.
 * @param open a session with that host; disposed here
 * @throws TidemarkError `ABORTED`
 */
export async function checkOtherHosts(used: CheckContext, tables: readonly TableSchema[], open: (host: MysqlHost) => Promise<Session>): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const host of parseMysqlAddress(used.options.url).hosts) {
    const name = formatMysqlHost(host);
    if (name === formatMysqlHost(used.session.host)) continue;
    try {
      await using session = await open(host);
      const found = (await checkServer({ ...used, session }, tables)).filter(({ code }) => code !== 'replica-read-only');
      findings.push(...found.map((finding): Finding => ({ ...finding, severity: 'warning', what: `${name}, another host of the address: ${finding.what}` })));
    } catch (error) {
      const failure = sinkError(error);
      if (failure.code === 'ABORTED') throw failure;
      findings.push({ severity: 'warning', code: 'replica-host', what: `${name}, another host of the address, cannot take over: ${failure.message}`, remedy: failure.remedy });
    }
  }
  return findings;
}
