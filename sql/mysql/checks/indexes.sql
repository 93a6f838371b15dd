-- Every index of the database. Of some columns only the first characters are in it.
SELECT
    x.table_name AS table_name,
    x.index_name AS index_name,
    MIN(x.non_unique) = 0 AS is_unique,
    TRUE AS is_valid,
    GROUP_CONCAT(
        x.column_name, IF(x.sub_part IS NULL, '', CONCAT('(', x.sub_part, ')'))
        ORDER BY x.seq_in_index SEPARATOR ', '
    ) AS columns,
    '' AS `condition`
FROM information_schema.statistics AS x
WHERE x.table_schema = DATABASE()
GROUP BY x.table_name, x.index_name
