import type { DoubleByteCharset } from './double-byte-layout.ts';
import { TABLE as big5 } from './tables/big5.ts';
import { TABLE as cp932 } from './tables/cp932.ts';
import { TABLE as eucjpms } from './tables/eucjpms.ts';
import { TABLE as euckr } from './tables/euckr.ts';
import { TABLE as gb18030 } from './tables/gb18030.ts';
import { TABLE as gb2312 } from './tables/gb2312.ts';
import { TABLE as gbk } from './tables/gbk.ts';
import { TABLE as sjis } from './tables/sjis.ts';
import { TABLE as ujis } from './tables/ujis.ts';

/** The packed tables of the multi-byte charsets. */
export const PACKED_TABLES: Readonly<Record<DoubleByteCharset, string>> = { big5, cp932, eucjpms, euckr, gb18030, gb2312, gbk, sjis, ujis };
