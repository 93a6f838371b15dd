-- Every trigger of the database.
SELECT t.trigger_name AS name
FROM information_schema.triggers AS t
WHERE t.trigger_schema = DATABASE()
