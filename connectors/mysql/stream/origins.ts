import { formatUuid } from '../gtid-set.ts';
import type { Group } from './group.ts';

/** Where transactions were made: '' at the server that is read, else the UUID (MariaDB: the server id) of the server. */
export class Origins {
  readonly #server: string;
  readonly #serverId: number;
  /** Nearly always the next transaction has the same. */
  #uuid: Buffer | null = null;
  #origin = '';

  constructor(server: string, serverId: number) {
    this.#server = server;
    this.#serverId = serverId;
  }

  of({ gtid, mariadb }: Pick<Group, 'gtid' | 'mariadb'>): string {
    if (mariadb !== null) return mariadb.gtid.server === this.#serverId ? '' : String(mariadb.gtid.server);
    const uuid = gtid?.uuid ?? null;
    if (uuid === null) return '';
    if (uuid !== this.#uuid) {
      this.#uuid = uuid;
      const text = formatUuid(uuid, 0);
      this.#origin = text === this.#server ? '' : text;
    }
    return this.#origin;
  }
}
