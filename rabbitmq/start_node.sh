#!/bin/bash
# start_node.sh FIRST: starts the node of this container. If it is its first start, the node FIRST
# has to be there before, or both would find nobody and be a cluster each.
#
# Later starts wait for nobody: after a full stop the nodes look for each other, and may need each
# other to begin.
set -euo pipefail

first=${1:?usage: start_node.sh FIRST}

answers() { (exec 3<>"/dev/tcp/${first#*@}/5672") 2>/dev/null; }

if [ ! -d "/var/lib/rabbitmq/mnesia/rabbit@$(hostname)" ]; then
    until answers; do
        echo "Waiting for $first, to join it"
        sleep 1
    done
fi
exec docker-entrypoint.sh rabbitmq-server
