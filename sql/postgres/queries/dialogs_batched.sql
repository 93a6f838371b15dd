-- The one statement that names several dialogs: concurrent messages share it. Not on a cluster, where
-- each dialog has a node of its own.

-- name: dialog_send_many
SELECT dialog_id, outcome, id, from_user_id, content, client_id, created_at, read, event_id,
       previous_id
FROM message_send_many($1, $2, $3, $4);
