-- Messages that meet, in one statement: PostgreSQL's alone, and not on a cluster, where each dialog
-- has a node of its own.

-- name: dialog_send_many
SELECT dialog_id, outcome, id, from_user_id, content, client_id, created_at, read, event_id,
       previous_id
FROM message_send_many($1, $2, $3, $4);

-- name: dialogs_are_sharded
-- A table of Citus.
SELECT to_regclass('pg_dist_partition') IS NOT NULL AS answer;
