#!/usr/bin/env bash
# A standby of `db` named $STANDBY: copies it into an empty directory at first, then follows it.
set -euo pipefail

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # What an attempt has left that was broken off.
    find "$PGDATA" -mindepth 1 -delete
    bash /replicas/add_standby.sh "host=$PGHOST user=$PGUSER dbname=postgres" "$STANDBY" "$PGDATA"
    chmod 700 "$PGDATA"
fi
# No less than the primary has: a standby does not start with fewer connections.
exec postgres -c "cluster_name=$STANDBY" -c max_connections=200 -c shared_buffers=256MB \
    -c listen_addresses='*' -c hba_file=/compose/pg_hba.conf
