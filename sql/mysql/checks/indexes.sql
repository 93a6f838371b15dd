-- Every index of the database. A partial one has a part of a column's text.
SELECT
    x.table_name AS table_name,
    x.index_name AS index_name,
    MIN(x.non_unique) = 0 AS is_unique,
    MAX(x.sub_part IS NOT NULL) AS is_partial,
    TRUE AS is_valid,
    GROUP_CONCAT(x.column_name ORDER BY x.seq_in_index) AS columns
FROM information_schema.statistics AS x
WHERE x.table_schema = DATABASE()
GROUP BY x.table_name, x.index_name
