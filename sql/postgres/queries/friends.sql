-- name: friend_put
SELECT outcome, event_id
FROM friend_put($1, $2, $3);

-- name: friend_delete
SELECT outcome, event_id
FROM friend_delete($1, $2);

-- name: friend_page
-- $2: 3 for my friends, 2 for those who asked me.
SELECT u.id, u.username, u.first_name, u.last_name, u.birthdate, u.bio, u.city, u.country, u.version
FROM friend AS f
JOIN "user" AS u ON u.id = f.friend_id
WHERE f.user_id = $1 AND f.state = $2 AND f.friend_id > $3::bigint
ORDER BY f.friend_id
LIMIT $4;
