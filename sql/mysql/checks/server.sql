-- What one server and one database are set to; a single row.
SELECT
    -- Two databases of one server share its connections.
    CONCAT(@@hostname, ' ', @@port, ' ', @@datadir) AS server,
    @@max_connections AS connections_max,
    -- 0 is no limit.
    @@SESSION.max_user_connections AS user_connections_max,
    (SELECT s.default_character_set_name FROM information_schema.schemata AS s
     WHERE s.schema_name = DATABASE()) AS encoding,
    @@innodb_flush_log_at_trx_commit AS innodb_flush_log_at_trx_commit,
    @@innodb_doublewrite AS innodb_doublewrite,
    -- Recovery rolls back what the binary log has lost.
    @@log_bin AS log_bin,
    @@sync_binlog AS sync_binlog,
    -- Beside a binary log only SUPER makes triggers, unless this is 1.
    @@log_bin_trust_function_creators AS are_triggers_trusted,
    @@read_only AS is_read_only,
    (SELECT COUNT(*) FROM information_schema.tables AS t
     WHERE t.table_schema = DATABASE() AND t.table_name = 'migration') AS has_ledger
