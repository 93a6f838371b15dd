#!/usr/bin/env bash
# rejoin.sh PRIMARY NAME DATA
#
# Turns the stopped server of DATA, a primary once, into the standby NAME of PRIMARY (a conninfo):
# what it has and PRIMARY has not is thrown away. Run it as the user that PostgreSQL runs as; then
# start the server. pg_rewind needs data checksums, or wal_log_hints = on while it was a primary.
set -euo pipefail
[ $# = 3 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
primary=$1 name=$2 data=$3

psql -XqAt -v ON_ERROR_STOP=1 -v name="$name" -d "$primary" >/dev/null <<'SQL'
CHECKPOINT;
SELECT pg_create_physical_replication_slot(:'name', true)
WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'name');
SQL

# -R writes standby.signal and primary_conninfo.
PGAPPNAME=$name pg_rewind --target-pgdata="$data" --source-server="$primary" --write-recovery-conf
echo "primary_slot_name = '$name'" >>"$data/postgresql.auto.conf"
# Slots that came with the copy, or were its own as a primary, would keep the log for nobody.
rm -rf "${data:?}"/pg_replslot/*
