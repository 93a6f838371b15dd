-- Every statement but dialog_list names one dialog_id, so a cluster sends it to one node.

-- name: dialog_send
SELECT outcome, id, from_user_id, content, client_id, created_at, read, event_id
FROM dialog_send($1, $2, $3, $4, $5);

-- name: dialog_read
SELECT up_to, event_id
FROM dialog_read($1, $2, $3);

-- name: dialog_page_before
SELECT m.id, m.from_user_id, m.content, m.client_id, m.created_at,
       m.id <= CASE m.from_user_id WHEN d.low_id THEN d.high_read ELSE d.low_read END AS read
FROM dialog AS d
JOIN dialogmessage AS m ON m.dialog_id = d.dialog_id
WHERE d.dialog_id = $1 AND m.dialog_id = $1 AND m.id < $2
ORDER BY m.id DESC
LIMIT $3;

-- name: dialog_page_after
SELECT m.id, m.from_user_id, m.content, m.client_id, m.created_at,
       m.id <= CASE m.from_user_id WHEN d.low_id THEN d.high_read ELSE d.low_read END AS read
FROM dialog AS d
JOIN dialogmessage AS m ON m.dialog_id = d.dialog_id
WHERE d.dialog_id = $1 AND m.dialog_id = $1 AND m.id > $2
ORDER BY m.id
LIMIT $3;

-- name: dialog_list
-- $2 and $3: the last activity (microseconds since 1970) and dialog_id to go on from.
SELECT d.dialog_id, d.unread, d.last_message_at,
       m.id, m.from_user_id, m.content, m.client_id, m.created_at,
       m.id <= CASE m.from_user_id WHEN d.low_id THEN d.high_read ELSE d.low_read END AS read
FROM (
    (
        SELECT dialog_id, low_id, low_read, high_read, last_message_id, last_message_at,
               low_unread AS unread
        FROM dialog
        WHERE low_id = $1
          AND (last_message_at, dialog_id)
              < (timestamptz 'epoch' + $2::bigint * interval '1 microsecond', $3)
        ORDER BY last_message_at DESC, dialog_id DESC
        LIMIT $4
    )
    UNION ALL
    (
        SELECT dialog_id, low_id, low_read, high_read, last_message_id, last_message_at,
               high_unread AS unread
        FROM dialog
        WHERE high_id = $1
          AND (last_message_at, dialog_id)
              < (timestamptz 'epoch' + $2::bigint * interval '1 microsecond', $3)
        ORDER BY last_message_at DESC, dialog_id DESC
        LIMIT $4
    )
    ORDER BY last_message_at DESC, dialog_id DESC
    LIMIT $4
) AS d
JOIN dialogmessage AS m ON m.dialog_id = d.dialog_id AND m.id = d.last_message_id
ORDER BY d.last_message_at DESC, d.dialog_id DESC;
