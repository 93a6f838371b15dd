-- The migrations that were applied.
SELECT name, checksum FROM migration
