-- Every statement but dialog_list names one dialog_id.

-- name: dialog_send
CALL message_send($1, $2, $3, $4, $5, $6);

-- name: dialog_read
CALL message_read($1, $2, $3);

-- name: dialog_heal
-- After a key was there already: its counters go on behind what is stored.
CALL dialog_heal($1, $2, $3);

-- name: dialog_versions
-- What changes with everything that a page of a dialog shows.
SELECT dialog_id, last_message_id, last_message_at, low_read, high_read
FROM dialog
WHERE dialog_id IN ($1);

-- name: dialog_page_before
SELECT m.id, m.from_user_id, m.content, CONVERT(m.client_id USING utf8mb4) AS client_id,
       m.created_at,
       m.id <= CASE m.from_user_id WHEN d.low_id THEN d.high_read ELSE d.low_read END AS `read`
FROM dialog AS d
JOIN message AS m ON m.dialog_id = d.dialog_id
WHERE d.dialog_id = $1 AND m.dialog_id = $1 AND m.id < $2
ORDER BY m.id DESC
LIMIT $3;

-- name: dialog_page_after
SELECT m.id, m.from_user_id, m.content, CONVERT(m.client_id USING utf8mb4) AS client_id,
       m.created_at,
       m.id <= CASE m.from_user_id WHEN d.low_id THEN d.high_read ELSE d.low_read END AS `read`
FROM dialog AS d
JOIN message AS m ON m.dialog_id = d.dialog_id
WHERE d.dialog_id = $1 AND m.dialog_id = $1 AND m.id > $2
ORDER BY m.id
LIMIT $3;

-- name: dialog_list
-- $2 and $3: the last activity (microseconds since 1970) and dialog_id to go on
-- from. The planner reads a range of the index for <= alone, not for a pair.
SELECT d.dialog_id, d.unread, d.last_message_at,
       m.id, m.from_user_id, m.content, CONVERT(m.client_id USING utf8mb4) AS client_id,
       m.created_at,
       m.id <= CASE m.from_user_id WHEN d.low_id THEN d.high_read ELSE d.low_read END AS `read`
FROM (
    (
        SELECT l.dialog_id, l.low_id, l.low_read, l.high_read, l.last_message_id,
               l.last_message_at, l.low_unread AS unread
        FROM dialog AS l
        WHERE l.low_id = $1
          AND l.last_message_at <= TIMESTAMP '1970-01-01 00:00:00' + INTERVAL $2 MICROSECOND
          AND (
            l.last_message_at < TIMESTAMP '1970-01-01 00:00:00' + INTERVAL $2 MICROSECOND
            OR l.dialog_id < $3
          )
        ORDER BY l.last_message_at DESC, l.dialog_id DESC
        LIMIT $4
    )
    UNION ALL
    (
        SELECT h.dialog_id, h.low_id, h.low_read, h.high_read, h.last_message_id,
               h.last_message_at, h.high_unread AS unread
        FROM dialog AS h
        WHERE h.high_id = $1
          AND h.last_message_at <= TIMESTAMP '1970-01-01 00:00:00' + INTERVAL $2 MICROSECOND
          AND (
            h.last_message_at < TIMESTAMP '1970-01-01 00:00:00' + INTERVAL $2 MICROSECOND
            OR h.dialog_id < $3
          )
        ORDER BY h.last_message_at DESC, h.dialog_id DESC
        LIMIT $4
    )
    ORDER BY last_message_at DESC, dialog_id DESC
    LIMIT $4
) AS d
JOIN message AS m ON m.dialog_id = d.dialog_id AND m.id = d.last_message_id
ORDER BY d.last_message_at DESC, d.dialog_id DESC;

-- name: messageoutbox_delete
-- The n-th of $1 belongs to the n-th of $2.
DELETE o
FROM JSON_TABLE(
    JSON_ARRAY($1), '$[*]' COLUMNS (n FOR ORDINALITY, dialog_id BIGINT PATH '$')
) AS gone
STRAIGHT_JOIN messageoutbox AS o FORCE INDEX (PRIMARY)
    ON o.dialog_id = gone.dialog_id AND o.id = CAST(ELT(gone.n, $2) AS SIGNED);

-- name: messageoutbox_up_to
-- What is left of a dialog's events up to $2.
SELECT o.dialog_id, o.id AS event_id, CAST(NULL AS SIGNED) AS previous_id, o.kind, o.user_id,
       o.message_id AS id, o.message_id AS up_to,
       m.from_user_id, m.content, CONVERT(m.client_id USING utf8mb4) AS client_id, m.created_at,
       FALSE AS `read`
FROM messageoutbox AS o
LEFT JOIN message AS m ON m.dialog_id = o.dialog_id AND m.id = o.message_id
WHERE o.dialog_id = $1 AND o.id <= $2
ORDER BY o.id
LIMIT $3;

-- name: messageoutbox_left
SELECT o.dialog_id, o.id AS event_id, CAST(NULL AS SIGNED) AS previous_id, o.kind, o.user_id,
       o.message_id AS id, o.message_id AS up_to,
       m.from_user_id, m.content, CONVERT(m.client_id USING utf8mb4) AS client_id, m.created_at,
       FALSE AS `read`
FROM messageoutbox AS o
LEFT JOIN message AS m ON m.dialog_id = o.dialog_id AND m.id = o.message_id
WHERE o.created_at < UTC_TIMESTAMP(6) - INTERVAL ROUND($1 * 1000000) MICROSECOND
ORDER BY o.dialog_id, o.id
LIMIT $2;
