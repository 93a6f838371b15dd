#!/usr/bin/env bash
# A container of Citus: the image's own entrypoint, and beside it what makes the node known.
#   CITUS_MASTER_NAME  on the master: the name that workers know it by
#   CITUS_MASTER       on a worker: the master's name
set -euo pipefail

# Nodes log in to each other with the one password. PGPASSWORD would not do: the entrypoint unsets
# it after the first start.
export PGPASSFILE=/var/run/postgresql/passwords
escaped() { printf %s "$1" | sed 's/[\\:]/\\&/g'; }
(umask 077 && printf '*:*:*:%s:%s\n' "$(escaped "$POSTGRES_USER")" \
    "$(escaped "$POSTGRES_PASSWORD")" >"$PGPASSFILE")
[ "$(id -u)" != 0 ] || chown postgres "$PGPASSFILE"

export PGUSER=$POSTGRES_USER PGDATABASE=$POSTGRES_DB
if [ -n "${CITUS_MASTER-}" ]; then
    # A container's name may be another one each time it is made; its data stay.
    NODE_HOST=$(hostname) MASTER_HOST=$CITUS_MASTER bash /citus/join.sh &
else
    NODE_HOST=$CITUS_MASTER_NAME bash /citus/join.sh &
fi
exec docker-entrypoint.sh "$@"
