-- name: friend_put
CALL friend_put($1, $2, $3);

-- name: friend_delete
CALL friend_delete($1, $2);

-- name: friend_status
-- How $1 stands with $2, who may be a stranger; no row for a user that there is not.
SELECT f.state
FROM user AS u
LEFT JOIN friend AS f ON f.user_id = $1 AND f.friend_id = u.id
WHERE u.id = $2;

-- name: friend_page
-- $2: 3 for my friends, 2 for those who asked me, 1 for those whom I asked. The page's ids come
-- first.
SELECT STRAIGHT_JOIN u.id, u.username, u.first_name, u.last_name, u.birthdate, u.bio, u.city,
       u.country, u.version
FROM (
    SELECT f.friend_id
    FROM friend AS f
    WHERE f.user_id = $1 AND f.state = $2 AND f.friend_id > $3
    ORDER BY f.friend_id
    LIMIT $4
) AS page
JOIN user AS u ON u.id = page.friend_id
ORDER BY u.id;

-- name: friends_of_many
SELECT user_id, friend_id, version
FROM friend
WHERE user_id IN ($1) AND state = 3;
