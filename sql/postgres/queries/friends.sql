-- name: friend_put
-- As post_create does, the commit waits for the synchronous standbys in any case.
SELECT outcome, event_id, version, after_users, after_ids
FROM friend_put($1, $2, $3)
WHERE event_id IS NOT NULL OR pg_logical_emit_message(true, 'hlfast', 'repeated') IS NOT NULL;

-- name: friend_delete
SELECT outcome, event_id, version, after_users, after_ids
FROM friend_delete($1, $2);

-- name: friend_status
-- How $1 stands with $2, who may be a stranger; no row for a user that there is not.
SELECT f.state
FROM "user" AS u
LEFT JOIN friend AS f ON f.user_id = $1 AND f.friend_id = u.id
WHERE u.id = $2;

-- name: friend_page
-- $2: 3 for my friends, 2 for those who asked me, 1 for those whom I asked. The page's ids come
-- first: as a join, a plan for a well-known $1 merges with a walk through all users.
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM "user"
WHERE id = ANY(ARRAY(
    SELECT friend_id
    FROM friend
    WHERE user_id = $1 AND state = $2 AND friend_id > $3::bigint
    ORDER BY friend_id
    LIMIT $4
))
ORDER BY id;

-- name: friends_of_many
SELECT user_id, friend_id, version
FROM friend
WHERE user_id = ANY($1::integer[]) AND state = 3;
