#!/usr/bin/env bash
# Make this server known to its cluster, by the name it has now; may be repeated.
#   NODE_HOST, NODE_PORT      where the others find this server
#   MASTER_HOST, MASTER_PORT  the master; left out: this is the master
#   SERVICE_USER, SERVICE_PASSWORD  who is to own the database and nothing more; left out: nobody
# Login and database are libpq's: PGUSER, PGDATABASE, PGPASSFILE; PGUSER is a superuser.
set -euo pipefail

here=$(dirname "${BASH_SOURCE[0]}")
node_port=${NODE_PORT:-5432}
at() {
    psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 \
        --host="$1" --port="$2" --set=host="$NODE_HOST" --set=port="$node_port" "${@:3}"
}
own() { at "${LOCAL_HOST:-127.0.0.1}" "$node_port" "$@"; }

# Its first start is on a unix socket alone, while the image still makes the database.
until own --command='SELECT citus_version()' >/dev/null 2>&1; do sleep 1; done
[ -z "${SERVICE_USER-}" ] || own --file="$here/service.sql" >/dev/null
if [ -z "${MASTER_HOST-}" ]; then
    own --file="$here/master.sql" >/dev/null
    exit
fi
master_port=${MASTER_PORT:-5432}
until at "$MASTER_HOST" "$master_port" --command='SELECT citus_version()' >/dev/null 2>&1; do
    sleep 1
done
# The number that the cluster gave this server is among its data: 0 before it joined.
group=$(own --command='SELECT groupid FROM pg_dist_local_group')
# One that was in the cluster and is not any more was taken out of it by somebody.
was_in=$(own --command="SELECT current_setting('hlfast.was_in_a_cluster', true)")
is_in=$(at "$MASTER_HOST" "$master_port" \
    --command="SELECT count(*) FROM pg_dist_node WHERE groupid = $group AND groupid <> 0")
if [ "$was_in" = yes ] && [ "$is_in" = 0 ]; then
    echo "join.sh: $NODE_HOST:$node_port was removed from the cluster, and stays out of it:" \
        "\`hlfast shards add $NODE_HOST:$node_port\` lets it in" >&2
    exit
fi
until at "$MASTER_HOST" "$master_port" --set=group="$group" --file="$here/worker.sql" >/dev/null; do
    sleep 2
done
own --set=database="$PGDATABASE" >/dev/null <<'SQL'
SET citus.enable_ddl_propagation = off;
ALTER DATABASE :"database" SET hlfast.was_in_a_cluster = 'yes';
SQL
echo "join.sh: $NODE_HOST:$node_port is in the cluster of $MASTER_HOST:$master_port"
