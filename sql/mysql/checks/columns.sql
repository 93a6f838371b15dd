-- The collation of every column with text, `binary` where it is bytes.
SELECT
    c.table_name AS table_name,
    c.column_name AS column_name,
    COALESCE(c.collation_name, 'binary') AS collation,
    COALESCE(c.collation_name = @@collation_database, FALSE) AS is_default
FROM information_schema.columns AS c
WHERE c.table_schema = DATABASE()
  AND (c.collation_name IS NOT NULL OR c.data_type = 'varbinary')
