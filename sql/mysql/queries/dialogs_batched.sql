-- The one statement that names several dialogs: concurrent messages share it.

-- name: dialog_send_many
CALL message_send_many(JSON_ARRAY($1), JSON_ARRAY($2), JSON_ARRAY($3), JSON_ARRAY($4));
