#!/usr/bin/env bash
# promote.sh STANDBY [OTHER…]
#
# Makes STANDBY (a conninfo) the primary, unless one of the OTHER standbys has received more. Make
# sure first that the old primary is dead and stays so: two primaries are two truths.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
standby=$1
shift

received() {
    psql -XqAt -v ON_ERROR_STOP=1 -d "$1" -c \
        "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'"
}

mine=$(received "$standby")
for other; do
    theirs=$(received "$other")
    if [ "$theirs" -gt "$mine" ]; then
        echo "promote.sh: $other has received $((theirs - mine)) bytes more: promote that one" >&2
        exit 1
    fi
done
promoted=$(psql -XqAt -v ON_ERROR_STOP=1 -d "$standby" -c "SELECT pg_promote(true, 60)")
[ "$promoted" = t ] || { echo "promote.sh: it is not promoted after 60 s" >&2; exit 1; }
