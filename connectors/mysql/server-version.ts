/** The versions of servers, as the connector's files know them. */
export { isAtLeast, parseVersion, versionName, type Flavor, type ServerVersion } from '../../contracts/types/mysql-version.ts';
