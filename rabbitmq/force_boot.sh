#!/usr/bin/env bash
# force_boot.sh: lets the local node, which must not run, start without those that stopped after it.
#
# After a full stop the node that stopped last has to be there: the others wait for it, because only
# it knows what was done last. This is for when it will not come back. What it alone knew is lost.
set -euo pipefail

die() {
    echo "force_boot.sh: $1" >&2
    exit 1
}

self=${RABBITMQ_NODENAME:-rabbit@$(hostname -s)}
noted=${RABBITMQ_MNESIA_BASE:-/var/lib/rabbitmq/mnesia}/$self/nodes_running_at_shutdown
[ -r "$noted" ] || die "$self has no note of how it stopped: $noted"

# An Erlang list: [rabbit@rabbit,rabbit@rabbit2].
others=()
for node in $(tr -d "[]'.\n" <"$noted" | tr ',' ' '); do
    [ "$node" = "$self" ] || others+=("$node")
done
if [ ${#others[@]} = 0 ]; then
    echo "$self stopped last: start it, the others will follow"
    exit
fi
for node in "${others[@]}"; do
    if rabbitmqctl --quiet --timeout 10 --node "$node" await_startup >/dev/null 2>&1; then
        die "$node runs: start $self, it takes from there what it missed"
    fi
done
echo "$self starts without ${others[*]}, which ran when it stopped"
rabbitmqctl --quiet force_boot
