-- Every trigger of the database.
SELECT t.event_object_table AS table_name, t.trigger_name AS name
FROM information_schema.triggers AS t
WHERE t.trigger_schema = DATABASE()
