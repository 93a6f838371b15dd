#!/usr/bin/env bash
# drain_server.sh                         lists the servers
# drain_server.sh BACKEND/SERVER          takes one out: it keeps what it has and gets nothing new,
#                                         so that it can be stopped without an error for anybody
# drain_server.sh --undo BACKEND/SERVER   puts it back
#
# HAPROXY_MASTER is the master's socket (`haproxy -S`): a path, or HOST:PORT. A reload forgets what
# was done here: take the server's line out of haproxy.cfg before, unless it is to return.
set -euo pipefail

master=${HAPROXY_MASTER:-/run/haproxy-master.sock}
# Seconds in which requests end. Websockets do not end by themselves.
patience_s=10

die() {
    printf 'drain_server.sh: %s\n' "$1" >&2
    exit 1
}

# What the master answers to a command. HAProxy's image has no Python, and bash no unix sockets.
ask() {
    case $master in
        /*) python3 -c '
import socket, sys
with socket.socket(socket.AF_UNIX) as master:
    master.settimeout(10)
    try:
        master.connect(sys.argv[1])
        master.sendall(f"{sys.argv[2]}\nquit\n".encode())
        while answer := master.recv(65536):
            sys.stdout.buffer.write(answer)
    except OSError as error:
        sys.exit(f"drain_server.sh: {sys.argv[1]}: {error}")
' "$master" "$1" ;;
        *)
            exec 3<>"/dev/tcp/${master%:*}/${master##*:}"
            printf '%s\nquit\n' "$1" >&3
            timeout 10 cat <&3
            exec 3>&-
            ;;
    esac
}

# The worker, and the old ones, which a reload has left with their connections.
workers() {
    ask 'show proc' | awk '$2 == "worker" { print $1 }'
}

# The present worker knows names and states; connections are those of all workers. They are told
# apart by address: with names from DNS, a reload may deal the addresses anew.
list() {
    {
        local worker
        for worker in $(workers); do
            ask "@!$worker show stat" | sed 's/^/stat,/'
        done
        ask '@1 show stat' | sed 's/^/now,/'
    } | awk -F, '
        # backend, server, connections, state, address: see "show stat" in the management guide
        $75 == "" || $75 == "addr" { next }
        $1 == "stat" { connections[$2, $75] += $6; next }
        { printf "%-20s %-22s %-16s %d connections\n", $2 "/" $3, $75, $19, connections[$2, $75] }
    '
}

connections() {
    list | awk -v name="$server" '$1 == name { print $(NF - 1) }'
}

state=drain
if [ "${1-}" = --undo ]; then
    state=ready
    shift
fi
if [ $# -eq 0 ]; then
    list
    exit 0
fi
server=$1
case $server in
    */*) ;;
    *) die "BACKEND/SERVER is wanted, such as websocket/ws1" ;;
esac
# The old workers take no new connections anyway.
answer=$(ask "@1 set server $server state $state")
[ -z "${answer//[[:space:]]/}" ] || die "$server: ${answer//$'\n'/ }"
if [ "$state" = ready ]; then
    echo "$server takes new connections again"
    exit 0
fi
left=$(connections)
waited_s=0
while [ "$left" != 0 ] && [[ $server != websocket/* ]] && ((waited_s < patience_s)); do
    sleep 1
    waited_s=$((waited_s + 1))
    left=$(connections)
done
echo "$server gets nothing new; $left connections are left"
echo "Now stop its process with SIGTERM (docker stop, systemctl stop, kill). A websocket node closes"
echo "its sockets with 1001, spread over half of HLFAST_DRAIN_TIMEOUT_S; clients come back elsewhere."
