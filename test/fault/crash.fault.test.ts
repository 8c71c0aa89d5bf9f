import { CRASH_SOURCES } from './crash-servers.ts';
import { crashTest } from './crash-cycles.ts';

const named = process.env['TIDEMARK_CRASH_SOURCE'] ?? 'postgres';
const kind = CRASH_SOURCES.find((one) => one === named);
if (kind === undefined) throw new Error(`TIDEMARK_CRASH_SOURCE is none of ${CRASH_SOURCES.join(', ')}`);

crashTest(kind, Number(process.env['TIDEMARK_CRASH_CYCLES'] ?? 10));
