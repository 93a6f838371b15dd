#!/usr/bin/env bash
# replicate_streams.sh NODE...: waits until all of these run as one cluster, and gives each of them
# a copy of each stream. A stream is made with a copy on every node of that moment; a node that
# joins later has none.
set -euo pipefail

wait_s=${HLFAST_RABBITMQ_WAIT_S:-120}

die() {
    echo "replicate_streams.sh: $1" >&2
    exit 1
}

[ $# -gt 0 ] || die "usage: replicate_streams.sh rabbit@HOST..."
ctl() { rabbitmqctl --quiet --timeout "$wait_s" --node "$node" "$@"; }
node=$1

is_one_cluster() {
    local status running member
    status=$(ctl --formatter json cluster_status 2>/dev/null) || return 1
    running=${status#*'"running_nodes":['}
    for member in "$@"; do
        [[ ${running%%]*} == *"\"$member\""* ]] || return 1
    done
}

deadline=$((SECONDS + wait_s))
until is_one_cluster "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || die "these do not run as one cluster: $*"
    sleep 1
done
echo "One cluster: $*"

streams() { ctl list_queues --no-table-headers name type members | awk -F '\t' '$2 ~ /stream/'; }

# What coordinates the streams comes to a node that has joined by itself, within half a minute.
# Whoever wants something of a stream there before that starts another one, which fails, and again
# and again, and the stream cannot be used at that node.
is_coordinated_everywhere() {
    local nodes="[node() | nodes()]"
    local runs="is_pid(erpc:call(Node, erlang, whereis, [rabbit_stream_coordinator]))"
    [ "$(ctl eval "lists:all(fun(Node) -> $runs end, $nodes).")" = true ]
}

has_copies_everywhere() {
    local name members member
    while IFS=$'\t' read -r name _ members; do
        for member in "$@"; do
            [[ $members =~ (^|[^[:alnum:]@._-])"$member"([^[:alnum:]@._-]|$) ]] && continue
            echo "$name: a copy for $member"
            # What `rabbitmq-streams add_replica` does, which is not everywhere on the path.
            ctl eval "rabbit_stream_queue:add_replica(<<\"/\">>, <<\"$name\">>, '$member')." || true
            return 1
        done
    done < <(streams)
}

until [ -z "$(streams)" ] || is_coordinated_everywhere; do
    [ "$SECONDS" -lt "$deadline" ] || die "the streams have no coordinator on each of them"
    # Each look starts an Erlang node, and it takes half a minute.
    sleep 3
done

until has_copies_everywhere "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || die "the copies were not made"
    sleep 1
done
echo "Each stream has a copy on each of them"
