/** What the parameters `sslmode`, `sslrootcert`, `sslcert` and `sslkey` of an address mean for a TLS connection. */
import { TidemarkError } from '../errors/error.ts';
import type { FileSystem } from '../runtime.ts';
import type { Address } from './postgres-address.ts';

/** The part of the options of `tls.connect` that an address decides. */
export interface TlsOptions {
  readonly rejectUnauthorized: boolean;
  /** Present where the certificate's chain is checked and its names are not. */
  readonly checkServerIdentity?: () => undefined;
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** `try`: go on in plain text if the server has no TLS. `allow` begins in plain text, which every server here answers. */
export function tlsUse({ sslMode }: Pick<Address, 'sslMode'>): 'never' | 'try' | 'always' {
  if (sslMode === 'disable' || sslMode === 'allow') return 'never';
  return sslMode === 'prefer' ? 'try' : 'always';
}

/** As in libpq: `require` checks the chain when it is given a root certificate, and nothing else without one. */
export function tlsVerification({ sslMode, rootCertificate }: Pick<Address, 'sslMode' | 'rootCertificate'>): 'nothing' | 'chain' | 'name' {
  if (sslMode === 'verify-full') return 'name';
  return sslMode === 'verify-ca' || (sslMode === 'require' && rootCertificate !== undefined) ? 'chain' : 'nothing';
}

/** Reads the files anew at each call, so that certificates can be renewed. @throws TidemarkError `POSTGRES_TLS` */
export async function tlsOptions(address: Address, files: Pick<FileSystem, 'readFile'>): Promise<TlsOptions> {
  const verification = tlsVerification(address);
  const [ca, cert, key] = await Promise.all([address.rootCertificate, address.certificate, address.key].map((path) => readPem(files, path)));
  return {
    rejectUnauthorized: verification !== 'nothing',
    ...(verification === 'chain' ? { checkServerIdentity: () => undefined } : {}),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

/** `system` stands for the root certificates that the runtime trusts by itself. */
async function readPem(files: Pick<FileSystem, 'readFile'>, path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined || path === 'system') return undefined;
  try {
    return await files.readFile(path);
  } catch (cause) {
    throw new TidemarkError('POSTGRES_TLS', `the file ${path} cannot be read`, { cause });
  }
}
