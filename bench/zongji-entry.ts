import { once } from 'node:events';
import ZongJi from '@vlasky/zongji';

/**
 * The baseline of mysql-capture, in a process of its own: `@vlasky/zongji` reads the binlog after a set of GTIDs, and its
 * consumer counts row changes. Says when it is ready, begins when it is told to, and says when it has counted them all.
 */
const [port = '', gtidSet = '', wanted = ''] = process.argv.slice(2);
const changes = Number(wanted);
const zongji = new ZongJi({ host: '127.0.0.1', port: Number(port), user: 'root' });

// A bench that is gone leaves nobody to work for.
process.on('disconnect', () => process.exit(1));
process.send?.({ counted: 0 });
await once(process, 'message');

let counted = 0;
zongji.on('error', (error) => {
  process.stderr.write(`${error.stack ?? String(error)}\n`);
  process.exit(1);
});
zongji.on('binlog', (event) => {
  if (!('rows' in event)) return;
  counted += event.rows.length;
  if (counted === changes) process.send?.({ counted });
});
const rows = ['tablemap', 'writerows', 'updaterows', 'deleterows'];
zongji.start({ serverId: 4_100_000_000 + (process.pid % 100_000), gtidSet, includeEvents: rows, includeSchema: { shop: ['bench'] } });
