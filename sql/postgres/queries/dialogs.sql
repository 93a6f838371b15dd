-- Every statement but dialog_list and messageoutbox_left names its dialogs, so a cluster sends it
-- to the node of each: messageoutbox_delete may name many, all others name one.

-- name: dialog_send
SELECT outcome, id, from_user_id, content, client_id, created_at, read, event_id, previous_id
FROM message_send($1, $2, $3, $4, $5, $6);

-- name: dialog_read
SELECT up_to, event_id, previous_id
FROM message_read($1, $2, $3);

-- name: dialog_heal
-- After a key was there already: its counters go on behind what is stored.
SELECT dialog_heal($1, $2, $3);

-- name: dialog_versions
-- What changes with everything that a page of a dialog shows.
SELECT dialog_id, last_message_id, last_message_at, low_read, high_read
FROM dialog
WHERE dialog_id = ANY($1::bigint[]);

-- name: dialog_page_before
SELECT m.id, m.from_user_id, m.content, m.client_id, m.created_at,
       m.id <= CASE m.from_user_id WHEN d.low_id THEN d.high_read ELSE d.low_read END AS read
FROM dialog AS d
JOIN message AS m ON m.dialog_id = d.dialog_id
WHERE d.dialog_id = $1 AND m.dialog_id = $1 AND m.id < $2
ORDER BY m.id DESC
LIMIT $3;

-- name: dialog_page_after
SELECT m.id, m.from_user_id, m.content, m.client_id, m.created_at,
       m.id <= CASE m.from_user_id WHEN d.low_id THEN d.high_read ELSE d.low_read END AS read
FROM dialog AS d
JOIN message AS m ON m.dialog_id = d.dialog_id
WHERE d.dialog_id = $1 AND m.dialog_id = $1 AND m.id > $2
ORDER BY m.id
LIMIT $3;

-- name: dialog_list
-- $2 and $3: the last activity (microseconds since 1970) and dialog_id to go on from.
-- On a cluster each half goes to every shard at once, the join with it: one above both would ask
-- all of them again.
(
    SELECT d.dialog_id, d.low_unread AS unread, d.last_message_at,
           m.id, m.from_user_id, m.content, m.client_id, m.created_at,
           m.id <= CASE m.from_user_id WHEN d.low_id THEN d.high_read ELSE d.low_read END AS read
    FROM dialog AS d
    JOIN message AS m ON m.dialog_id = d.dialog_id AND m.id = d.last_message_id
    WHERE d.low_id = $1
      AND (d.last_message_at, d.dialog_id)
          < (timestamptz 'epoch' + $2::bigint * interval '1 microsecond', $3)
    ORDER BY d.last_message_at DESC, d.dialog_id DESC
    LIMIT $4
)
UNION ALL
(
    SELECT d.dialog_id, d.high_unread AS unread, d.last_message_at,
           m.id, m.from_user_id, m.content, m.client_id, m.created_at,
           m.id <= CASE m.from_user_id WHEN d.low_id THEN d.high_read ELSE d.low_read END AS read
    FROM dialog AS d
    JOIN message AS m ON m.dialog_id = d.dialog_id AND m.id = d.last_message_id
    WHERE d.high_id = $1
      AND (d.last_message_at, d.dialog_id)
          < (timestamptz 'epoch' + $2::bigint * interval '1 microsecond', $3)
    ORDER BY d.last_message_at DESC, d.dialog_id DESC
    LIMIT $4
)
ORDER BY last_message_at DESC, dialog_id DESC
LIMIT $4;

-- name: messageoutbox_delete
-- The first condition is for a cluster, which finds the nodes by it.
DELETE FROM messageoutbox AS o
USING unnest($1::bigint[], $2::bigint[]) AS gone (dialog_id, id)
WHERE o.dialog_id = ANY($1::bigint[]) AND o.dialog_id = gone.dialog_id AND o.id = gone.id
RETURNING o.id;

-- name: messageoutbox_up_to
-- What is left of a dialog's events up to $2.
SELECT o.dialog_id, o.id AS event_id, NULL::bigint AS previous_id, o.kind, o.user_id,
       o.message_id AS id, o.message_id AS up_to,
       m.from_user_id, m.content, m.client_id, m.created_at, false AS read
FROM messageoutbox AS o
LEFT JOIN message AS m ON m.dialog_id = o.dialog_id AND m.id = o.message_id
WHERE o.dialog_id = $1 AND o.id <= $2
ORDER BY o.id
LIMIT $3;

-- name: messageoutbox_left
-- Every node is asked: only the sweep does.
SELECT o.dialog_id, o.id AS event_id, NULL::bigint AS previous_id, o.kind, o.user_id,
       o.message_id AS id, o.message_id AS up_to,
       m.from_user_id, m.content, m.client_id, m.created_at, false AS read
FROM messageoutbox AS o
LEFT JOIN message AS m ON m.dialog_id = o.dialog_id AND m.id = o.message_id
WHERE o.created_at < clock_timestamp() - $1::double precision * interval '1 second'
ORDER BY o.dialog_id, o.id
LIMIT $2;
