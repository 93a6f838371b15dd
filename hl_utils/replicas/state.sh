#!/usr/bin/env bash
# state.sh SERVER…
#
# What each SERVER (a conninfo) is, how far it is, who follows it, and which slots it keeps.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }

for server; do
    echo "== $server"
    psql -Xq -P footer=off -v ON_ERROR_STOP=1 -d "$server" <<'SQL' || echo "   does not answer"
SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END AS role,
       current_setting('synchronous_standby_names') AS synchronous_standby_names,
       CASE WHEN pg_is_in_recovery()
           THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
           ELSE pg_current_wal_flush_lsn()
       END AS received_or_written,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END AS replayed;

SELECT application_name, state, sync_state, sent_lsn, flush_lsn, replay_lsn, replay_lag
FROM pg_stat_replication
ORDER BY application_name;

SELECT slot_name, active, wal_status,
       pg_size_pretty(pg_wal_lsn_diff(
           CASE WHEN pg_is_in_recovery()
               THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn()
           END, restart_lsn)) AS log_kept
FROM pg_replication_slots
ORDER BY slot_name;
SQL
done
