#!/usr/bin/env bash
# add_standby.sh PRIMARY NAME DATA
#
# Copies the server at PRIMARY (a conninfo: "host=… user=… dbname=postgres") into the directory
# DATA as its standby NAME. Run it as the user that PostgreSQL runs as; then start the server.
set -euo pipefail
[ $# = 3 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
primary=$1 name=$2 data=$3

# The slot keeps the log for as long as the standby is away.
psql -XqAt -v ON_ERROR_STOP=1 -v name="$name" -d "$primary" >/dev/null <<'SQL'
SELECT pg_create_physical_replication_slot(:'name', true)
WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'name');
SQL

# -R writes standby.signal, and primary_conninfo and primary_slot_name into postgresql.auto.conf.
# The application's name is what synchronous_standby_names knows the standby by.
PGAPPNAME=$name pg_basebackup --dbname="$primary" --pgdata="$data" --slot="$name" \
    --wal-method=stream --checkpoint=fast --write-recovery-conf
