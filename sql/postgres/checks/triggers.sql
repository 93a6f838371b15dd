-- Every trigger that somebody made and that is not switched off.
SELECT c.relname::text AS table_name, t.tgname::text AS name
FROM pg_trigger AS t
JOIN pg_class AS c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND c.relnamespace = current_schema()::regnamespace
