#!/usr/bin/env bash
# join_cluster.sh NODE: makes the local node, which runs, a member of the cluster of NODE
# (rabbit@rabbit), and gives it a copy of each stream. What the local node held before is lost.
# Does nothing to a node that is a member already.
set -euo pipefail

wait_s=${HLFAST_RABBITMQ_WAIT_S:-120}

die() {
    echo "join_cluster.sh: $1" >&2
    exit 1
}

first=${1:-}
[[ $first == *?@?* ]] || die "usage: join_cluster.sh rabbit@HOST"
getent hosts "${first#*@}" >/dev/null || die "the name ${first#*@} is not resolved: see /etc/hosts"

rabbitmqctl --quiet --timeout "$wait_s" await_startup >/dev/null \
    || die "the local node does not run: start it"
self=$(rabbitmqctl --quiet eval 'node().' | tr -d "'")
[ "$self" != "$first" ] || die "$first is this node: name another one"

# The reason why it does not answer shows a hash of the cookie at most.
deadline=$((SECONDS + wait_s))
until status=$(rabbitmqctl --quiet --timeout 10 --formatter json --node "$first" cluster_status 2>&1); do
    case $status in
        *"distribution failed"* | *"uthentication failed"*)
            die "$first has another Erlang cookie: that file has to be the same on each machine" ;;
    esac
    [ "$SECONDS" -lt "$deadline" ] || die "$first does not answer"
    sleep 1
done

# Asked at the other end, where it counts.
members=${status#*'"disk_nodes":['}
if [[ ${members%%]*} == *"\"$self\""* ]]; then
    echo "$self is a member of the cluster of $first already"
else
    rabbitmqctl --quiet stop_app
    # Whatever comes of it, the node serves again.
    trap 'rabbitmqctl --quiet start_app' EXIT
    rabbitmqctl --quiet join_cluster "$first" || die "$first did not let it join"
    trap - EXIT
    rabbitmqctl --quiet start_app
    echo "$self has joined the cluster of $first"
fi
exec bash "$(dirname "$0")/replicate_streams.sh" "$self" "$first"
