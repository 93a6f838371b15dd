-- The collation of every column that has one, of the tables in the search path.
SELECT t.relname::text AS table_name, a.attname::text AS column_name,
       l.collname::text AS collation, l.collprovider = 'd' AS is_default
FROM pg_attribute a
JOIN pg_class t ON t.oid = a.attrelid
JOIN pg_collation l ON l.oid = a.attcollation
WHERE a.attnum > 0 AND NOT a.attisdropped AND t.relkind IN ('r', 'p')
  AND pg_table_is_visible(t.oid) AND t.relnamespace <> 'pg_catalog'::regnamespace
