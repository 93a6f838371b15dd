#!/bin/bash
# start_node.sh [FIRST]: starts the node of this container. If it is its first start, the node FIRST
# has to be there before, or both would find nobody and be a cluster each.
#
# Later starts wait for nobody: after a full stop the nodes look for each other, and may need each
# other to begin.
set -euo pipefail

first=${1:-}
# Erlang takes memory for as many files as it may open, which some engines do not bound.
files_max=65536

answers() { (exec 3<>"/dev/tcp/${first#*@}/5672") 2>/dev/null; }

if [ ! -d "/var/lib/rabbitmq/mnesia/rabbit@$(hostname)" ]; then
    until [ -z "$first" ] || answers; do
        echo "Waiting for $first, to join it"
        sleep 1
    done
fi
bash "$(dirname "$0")/need_members.sh" || true
allowed=$(ulimit -Hn)
if [ "$allowed" = unlimited ] || [ "$allowed" -gt $files_max ]; then
    allowed=$files_max
fi
ulimit -Sn "$allowed"
docker-entrypoint.sh rabbitmq-server &
server=$!

# Not every start script of RabbitMQ hands a signal on to the server, which is Erlang's.
stop() {
    local mine pid name group stat
    read -r _ _ _ _ mine _ <"/proc/$$/stat"
    while kill -0 "$server" 2>/dev/null; do
        for stat in /proc/[0-9]*/stat; do
            { read -r pid name _ _ group _ <"$stat"; } 2>/dev/null || continue
            if [ "$name" = "(beam.smp)" ] && [ "$group" = "$mine" ]; then
                kill -TERM "$pid" 2>/dev/null || true
            fi
        done
        sleep 0.5
    done
}
trap stop TERM INT
wait "$server" || wait "$server"
