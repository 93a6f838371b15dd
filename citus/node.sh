#!/usr/bin/env bash
# A container of Citus: the image's own entrypoint, and beside it what makes the node known.
#   CITUS_MASTER_NAME  on the master: the name that workers know it by
#   CITUS_MASTER       on a worker: the master's name
#   SERVICE_USER, SERVICE_PASSWORD  who owns the database; POSTGRES_USER is the superuser
set -euo pipefail

# Nodes log in to each other, as the superuser and as the service. PGPASSWORD would not do: it is one
# password, and the entrypoint unsets it after the first start.
export PGPASSFILE=/var/run/postgresql/passwords
escaped() { printf %s "$1" | sed 's/[\\:]/\\&/g'; }
line() { printf '*:*:*:%s:%s\n' "$(escaped "$1")" "$(escaped "$2")"; }
(umask 077 && {
    # First: where both are one user, as in clusters of before, this is its password.
    line "$SERVICE_USER" "$SERVICE_PASSWORD"
    line "$POSTGRES_USER" "$POSTGRES_PASSWORD"
} >"$PGPASSFILE")
[ "$(id -u)" != 0 ] || chown postgres "$PGPASSFILE"

export PGUSER=$POSTGRES_USER PGDATABASE=$POSTGRES_DB
if [ -n "${CITUS_MASTER-}" ]; then
    # A container's name may be another one each time it is made; its data stay.
    export NODE_HOST=$(hostname) MASTER_HOST=$CITUS_MASTER
else
    export NODE_HOST=$CITUS_MASTER_NAME
fi
# What the container's health looks for: whoever waits for it finds the node in the cluster.
known=/tmp/known
rm -f "$known"
(bash /citus/join.sh && touch "$known") &
# What splits a shard. Servers that do not know the setting take any library.
if postgres --describe-config | grep -q '^output_plugin_libraries'; then
    set -- "$@" '-coutput_plugin_libraries=pgoutput, test_decoding, citus'
fi
exec docker-entrypoint.sh "$@"
