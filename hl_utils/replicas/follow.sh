#!/usr/bin/env bash
# follow.sh STANDBY PRIMARY NAME
#
# Points the running standby NAME at another PRIMARY, onto whose timeline it goes over by itself
# (recovery_target_timeline = latest, the default). STANDBY and PRIMARY are conninfos.
set -euo pipefail
[ $# = 3 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
standby=$1 primary=$2 name=$3

psql -XqAt -v ON_ERROR_STOP=1 -v name="$name" -d "$primary" >/dev/null <<'SQL'
SELECT pg_create_physical_replication_slot(:'name', true)
WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'name');
SQL
psql -XqAt -v ON_ERROR_STOP=1 -v name="$name" -v primary="$primary application_name=$name" \
    -d "$standby" <<'SQL'
ALTER SYSTEM SET primary_conninfo = :'primary';
ALTER SYSTEM SET primary_slot_name = :'name';
SELECT FROM pg_reload_conf();
SQL
