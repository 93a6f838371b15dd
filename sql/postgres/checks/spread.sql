-- The tables that Citus has on its nodes.
SELECT t.relname::text AS table_name
FROM pg_dist_partition AS p
JOIN pg_class AS t ON t.oid = p.logicalrelid
