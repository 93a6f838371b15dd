-- Whether it is a cluster, and what that answers while one of its nodes is away: PostgreSQL's alone.

-- name: dialogs_are_sharded
-- A table of Citus.
SELECT to_regclass('pg_dist_partition') IS NOT NULL AS answer;

-- name: dialog_nodes
SELECT node, answers FROM dialog_nodes();

-- name: dialog_list_of_living
-- As dialog_list, without the nodes of $1; a row of nulls for each node that does not answer.
SELECT dialog_id, unread, last_message_at, id, from_user_id, content, client_id, created_at, read
FROM dialog_list_of_living($1, $2, $3, $4, $5);

-- name: messageoutbox_left_of_living
-- As messageoutbox_left, without the nodes of $1; a row of nulls for each node that does not answer.
SELECT dialog_id, event_id, previous_id, kind, user_id, id, up_to, from_user_id, content, client_id,
       created_at, read
FROM messageoutbox_left_of_living($1, $2, $3);
