#!/usr/bin/env bash
# synchronous.sh SERVER NAME NAME…
# synchronous.sh SERVER
#
# With names: a commit is acknowledged once any one of these standbys has it on its disk. Two, so
# that one of them may die. Without names: asynchronous again. SERVER is a conninfo.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
server=$1
shift

names=
if [ $# -gt 0 ]; then
    printf -v names '"%s", ' "$@"
    names="ANY 1 (${names%, })"
fi
psql -XqAt -v ON_ERROR_STOP=1 -v names="$names" -d "$server" <<'SQL'
ALTER SYSTEM SET synchronous_standby_names = :'names';
SELECT FROM pg_reload_conf();
SQL
