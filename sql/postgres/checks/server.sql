-- What one server and one database are set to; a single row.
SELECT
    split_part(current_setting('server_version'), ' ', 1) AS version,
    -- A standby has its primary's, but was started at another time.
    (SELECT system_identifier::text FROM pg_control_system()) AS cluster,
    pg_postmaster_start_time()::text AS started_at,
    current_setting('max_connections')::integer
        - current_setting('superuser_reserved_connections')::integer
        - coalesce(current_setting('reserved_connections', true)::integer, 0) AS connections_left,
    -- -1 is no limit.
    (SELECT d.datconnlimit FROM pg_database d WHERE d.datname = current_database())
        AS database_connections_max,
    (SELECT r.rolconnlimit FROM pg_roles r WHERE r.rolname = current_user)
        AS role_connections_max,
    (SELECT pg_encoding_to_char(d.encoding) FROM pg_database d
     WHERE d.datname = current_database()) AS encoding,
    current_setting('wal_level') AS wal_level,
    array(
        SELECT name || ' = ' || current_setting(name)
        FROM unnest(ARRAY['fsync', 'full_page_writes', 'synchronous_commit']) name
        WHERE current_setting(name) = 'off'
    ) AS unsafe,
    pg_is_in_recovery() AS is_standby,
    current_setting('default_transaction_read_only') = 'on' AS is_read_only,
    current_setting('primary_slot_name') AS primary_slot_name,
    EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') AS has_citus,
    to_regclass('pg_dist_node') IS NOT NULL AS has_nodes,
    to_regclass('pg_dist_partition') IS NOT NULL AS has_spread,
    to_regclass('migration') IS NOT NULL AS has_ledger,
    -- The state is hidden from those who may not monitor.
    (
        SELECT count(*) FROM pg_stat_replication r
        WHERE r.state IS DISTINCT FROM 'backup'
          AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid)
    ) AS standbys_without_slot,
    array(
        SELECT s.slot_name::text FROM pg_replication_slots s
        WHERE NOT s.active AND s.restart_lsn IS NOT NULL AND NOT pg_is_in_recovery()
        ORDER BY 1
    ) AS idle_slots
