#!/usr/bin/env bash
# remove_standby.sh PRIMARY NAME
#
# Drops the slot of a standby that is gone for good: it would keep the log until the disk is full.
# Take its name out of synchronous_standby_names, too. PRIMARY is a conninfo.
set -euo pipefail
[ $# = 2 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }

psql -XqAt -v ON_ERROR_STOP=1 -v name="$2" -d "$1" >/dev/null <<'SQL'
SELECT pg_drop_replication_slot(:'name');
SQL
