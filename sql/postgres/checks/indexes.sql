-- Every index of the tables in the search path.
SELECT
    t.relname::text AS table_name,
    i.relname::text AS index_name,
    x.indisunique AS is_unique,
    x.indisvalid AND x.indisready AS is_valid,
    (
        SELECT string_agg(pg_get_indexdef(x.indexrelid, position, true), ', ' ORDER BY position)
        FROM generate_series(1, x.indnkeyatts::integer) position
    ) AS columns,
    pg_get_expr(x.indpred, x.indrelid, true) AS condition
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_class t ON t.oid = x.indrelid
WHERE pg_table_is_visible(t.oid) AND t.relnamespace <> 'pg_catalog'::regnamespace
