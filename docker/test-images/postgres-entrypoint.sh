#!/bin/sh
# Arguments go to postgres: `-c name=value`.
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --no-sync -U postgres -A trust -E UTF8 --locale=C.UTF-8 -D "$PGDATA" >/dev/null
  echo 'host all all all trust' >>"$PGDATA/pg_hba.conf"
  echo 'host replication all all trust' >>"$PGDATA/pg_hba.conf"
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c wal_level=logical "$@"
