#!/usr/bin/env bash
# need_members.sh: ends with 1, and says what is missing, if the node of this container is one of a
# cluster and another member's name is not resolved: its container is not there. RabbitMQ would wait
# for that one without a word, and give up after five minutes.
set -euo pipefail

wait_s=${HLFAST_RABBITMQ_WAIT_S:-10}
self=${RABBITMQ_NODENAME:-rabbit@$(hostname -s)}
# Two Erlang lists, of all members and of those that ran: {[rabbit@rabbit,rabbit@rabbit2],[...]}.
noted=${RABBITMQ_MNESIA_BASE:-/var/lib/rabbitmq/mnesia}/$self/cluster_nodes.config
[ -r "$noted" ] || exit 0

members=$(tr -d "\"' \n" <"$noted")
members=${members#*[}
missing() {
    local node
    for node in ${members//,/ }; do
        [ "$node" = "$self" ] || getent hosts "${node#*@}" >/dev/null || echo "$node"
    done
}
members=${members%%]*}
deadline=$((SECONDS + wait_s))
while absent=$(missing | paste -sd ' ') && [ -n "$absent" ]; do
    if [ "$SECONDS" -ge "$deadline" ]; then
        cat >&2 <<END
$self is one of a cluster and waits for those of it that are not here: $absent
Start all of them: docker compose --profile rabbit-cluster up -d
COMPOSE_PROFILES=rabbit-cluster in .env does so each time. If one is lost: rabbitmq/README.md.
END
        exit 1
    fi
    sleep 1
done
