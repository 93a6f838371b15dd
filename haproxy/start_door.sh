#!/usr/bin/env bash
# Starts HAProxy in its container, and says how many connections it takes if open files are few.
set -euo pipefail

wanted=${HLFAST_HAPROXY_FILES_MAX:-100000}
allowed=$(ulimit -Hn)
if [ "$allowed" != unlimited ] && [ "$allowed" -lt "$wanted" ]; then
    echo "$allowed open files are allowed here, not $wanted: about $((allowed / 2)) connections are" \
        "accepted at once. Raise default-ulimits of the Docker daemon, or lower" \
        "HLFAST_HAPROXY_FILES_MAX" >&2
fi
exec haproxy -W -db -S "$HAPROXY_MASTER" -f /usr/local/etc/haproxy/haproxy.cfg
