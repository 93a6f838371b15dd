-- Who may see a post is decided in the statement that reads it.

-- name: post_create
CALL post_create_encoded($1, $2, $3, $4, $5);

-- name: post_get
SELECT p.id, p.author_id, p.content, p.privacy, p.created_at, p.updated_at, p.version
FROM post AS p
WHERE p.id = $1
  AND (
    p.privacy = 'public'
    OR p.author_id = $2
    OR EXISTS (
        SELECT 1 FROM friend AS f WHERE f.user_id = $2 AND f.friend_id = p.author_id AND f.state = 3
    )
  );

-- name: post_change
CALL post_change_encoded($1, $2, $3, $4, $5);

-- name: post_remove
-- The author's, or any for a superuser whose token is of version $3.
CALL post_remove_by($1, $2, $3);

-- name: post_wall
-- $1 the author, $2 who looks.
SELECT p.id, p.author_id, p.content, p.privacy, p.created_at, p.updated_at, p.version
FROM post AS p FORCE INDEX (post_author)
WHERE p.author_id = $1
  AND p.id < $3
  AND (
    p.privacy = 'public'
    OR $1 = $2
    OR EXISTS (SELECT 1 FROM friend AS f WHERE f.user_id = $2 AND f.friend_id = $1 AND f.state = 3)
  )
ORDER BY p.id DESC
LIMIT $4;

-- name: post_wall_encoded
-- The same page as lines of bytes, each of a post's id and its JSON after that, or a tab where a row
-- has none.
SELECT CAST(CONCAT(p.id, COALESCE(p.encoded, '\t')) AS BINARY) AS line
FROM post AS p FORCE INDEX (post_author)
WHERE p.author_id = $1
  AND p.id < $3
  AND (
    p.privacy = 'public'
    OR $1 = $2
    OR EXISTS (SELECT 1 FROM friend AS f WHERE f.user_id = $2 AND f.friend_id = $1 AND f.state = 3)
  )
ORDER BY p.id DESC
LIMIT $4;

-- name: post_encode
-- $1: JSON of a list of posts, each with the JSON of its row in this version.
UPDATE JSON_TABLE(
    $1, '$[*]' COLUMNS (
        id BIGINT PATH '$.id', version INT PATH '$.version', encoded TEXT PATH '$.encoded'
    )
) AS e
STRAIGHT_JOIN post AS p FORCE INDEX (PRIMARY) ON p.id = e.id
SET p.encoded = e.encoded
WHERE p.version = e.version AND p.encoded IS NULL;

-- name: feed_versions
-- What changes with everything that the feed of a user shows: their friends, and whatever those
-- post, edit and delete.
SELECT f.user_id, COUNT(*) AS friends, CAST(SUM(f.version) AS SIGNED) AS friend_versions,
       CAST(COALESCE(SUM(w.changes), 0) AS SIGNED) AS changes
FROM friend AS f
LEFT JOIN wall AS w ON w.author_id = f.friend_id
WHERE f.user_id IN ($1) AND f.state = 3
GROUP BY f.user_id;

-- name: post_feed
-- A page can only come from the $3 friends who posted last: of each of them the
-- posts are walked back one by one, no further than the oldest of those $3 newest
-- (there is no LATERAL in MariaDB). The cost follows the number of friends, never
-- the number of posts.
WITH RECURSIVE walk AS (
    SELECT n.friend_id, n.id, IF(COUNT(n.id) OVER () < $3, 0, MIN(n.id) OVER ()) AS oldest,
           1 AS step
    FROM (
        SELECT f.friend_id,
               (
                   SELECT w.id FROM post AS w FORCE INDEX (post_author)
                   WHERE w.author_id = f.friend_id AND w.id < $2
                   ORDER BY w.author_id DESC, w.id DESC
                   LIMIT 1
               ) AS id
        FROM friend AS f
        WHERE f.user_id = $1 AND f.state = 3
        ORDER BY 2 DESC
        LIMIT $3
    ) AS n
    UNION ALL
    SELECT b.friend_id,
           (
               SELECT w.id FROM post AS w FORCE INDEX (post_author)
               WHERE w.author_id = b.friend_id AND w.id < b.id
               ORDER BY w.author_id DESC, w.id DESC
               LIMIT 1
           ),
           b.oldest, b.step + 1
    FROM walk AS b
    WHERE b.id > b.oldest AND b.step < $3
)
SELECT STRAIGHT_JOIN p.id, p.author_id, p.content, p.privacy, p.created_at, p.updated_at, p.version
FROM (SELECT b.id FROM walk AS b WHERE b.id IS NOT NULL ORDER BY b.id DESC LIMIT $3) AS page
JOIN post AS p ON p.id = page.id
ORDER BY p.id DESC;

-- name: post_feed_encoded
-- The same page as lines, as a wall's.
WITH RECURSIVE walk AS (
    SELECT n.friend_id, n.id, IF(COUNT(n.id) OVER () < $3, 0, MIN(n.id) OVER ()) AS oldest,
           1 AS step
    FROM (
        SELECT f.friend_id,
               (
                   SELECT w.id FROM post AS w FORCE INDEX (post_author)
                   WHERE w.author_id = f.friend_id AND w.id < $2
                   ORDER BY w.author_id DESC, w.id DESC
                   LIMIT 1
               ) AS id
        FROM friend AS f
        WHERE f.user_id = $1 AND f.state = 3
        ORDER BY 2 DESC
        LIMIT $3
    ) AS n
    UNION ALL
    SELECT b.friend_id,
           (
               SELECT w.id FROM post AS w FORCE INDEX (post_author)
               WHERE w.author_id = b.friend_id AND w.id < b.id
               ORDER BY w.author_id DESC, w.id DESC
               LIMIT 1
           ),
           b.oldest, b.step + 1
    FROM walk AS b
    WHERE b.id > b.oldest AND b.step < $3
)
SELECT STRAIGHT_JOIN CAST(CONCAT(p.id, COALESCE(p.encoded, '\t')) AS BINARY) AS line
FROM (SELECT b.id FROM walk AS b WHERE b.id IS NOT NULL ORDER BY b.id DESC LIMIT $3) AS page
JOIN post AS p ON p.id = page.id
ORDER BY p.id DESC;

-- name: post_feed_newest
-- The same page from the $4 newest ids of everybody's posts; fewer than $3 rows say nothing of what
-- is older.
SELECT STRAIGHT_JOIN p.id, p.author_id, p.content, p.privacy, p.created_at, p.updated_at, p.version
FROM post AS p FORCE INDEX (PRIMARY)
JOIN friend AS f FORCE INDEX (PRIMARY) ON f.user_id = $1 AND f.friend_id = p.author_id
WHERE f.state = 3 AND p.id < $2
  AND p.id > (SELECT MAX(n.id) FROM post AS n WHERE n.id < $2) - $4
ORDER BY p.id DESC
LIMIT $3;

-- name: post_feed_newest_encoded
-- The same page as lines, as a wall's.
SELECT STRAIGHT_JOIN CAST(CONCAT(p.id, COALESCE(p.encoded, '\t')) AS BINARY) AS line
FROM post AS p FORCE INDEX (PRIMARY)
JOIN friend AS f FORCE INDEX (PRIMARY) ON f.user_id = $1 AND f.friend_id = p.author_id
WHERE f.state = 3 AND p.id < $2
  AND p.id > (SELECT MAX(n.id) FROM post AS n WHERE n.id < $2) - $4
ORDER BY p.id DESC
LIMIT $3;

-- name: feed_reached
-- How many posts of a feed are not older than $2, as far as $3 of them: how far back a page begins
-- is counted here, whatever a client says.
SELECT COUNT(*) AS posts
FROM (
    SELECT 1
    FROM friend AS f
    JOIN post AS w ON w.author_id = f.friend_id AND w.id >= $2
    WHERE f.user_id = $1 AND f.state = 3
    LIMIT $3
) AS reached;

-- name: feed_reached_newest
-- The same count, or no row where $2 is not among the $4 newest ids of everybody's posts.
SELECT COUNT(*) AS posts
FROM (
    SELECT STRAIGHT_JOIN 1
    FROM post AS p FORCE INDEX (PRIMARY)
    JOIN friend AS f FORCE INDEX (PRIMARY) ON f.user_id = $1 AND f.friend_id = p.author_id
    WHERE f.state = 3 AND p.id >= $2 AND $2 > (SELECT MAX(n.id) FROM post AS n WHERE n.id >= $2) - $4
    LIMIT $3
) AS reached
HAVING $2 > (SELECT MAX(n.id) FROM post AS n WHERE n.id >= $2) - $4;

-- name: friend_count
SELECT c.friends
FROM friendcount AS c
WHERE c.user_id = $1;

-- name: outbox_delete
-- The ids alone do. By any other index it would wait for rows that are being written.
DELETE o
FROM outbox AS o FORCE INDEX (PRIMARY)
WHERE o.id IN ($2) AND o.user_id IN ($1);

-- name: outbox_up_to
-- What is left of a user's events up to $2, and of each friendship that is among them whatever its
-- pair did: nothing of it waits for anything else.
SELECT o.id AS event_id, NULL AS after_users, NULL AS after_ids, o.kind, o.user_id,
       COALESCE(o.version, o.id) AS version, o.subject_id AS id,
       p.author_id, p.content, p.privacy, p.created_at, p.updated_at
FROM (
    SELECT u.id FROM outbox AS u FORCE INDEX (outbox_user) WHERE u.user_id = $1 AND u.id <= $2
    UNION ALL
    SELECT f.id
    FROM outbox AS f FORCE INDEX (outbox_subject)
    WHERE f.subject_id = $1 AND f.id <= $2
      AND f.kind IN ('friend.requested', 'friend.withdrawn', 'friend.added', 'friend.removed')
) AS l
STRAIGHT_JOIN outbox AS o FORCE INDEX (PRIMARY) ON o.id = l.id
LEFT JOIN post AS p ON o.kind LIKE 'post.%' AND p.id = o.subject_id
ORDER BY o.id
LIMIT $3;

-- name: outbox_left
SELECT o.id AS event_id, NULL AS after_users, NULL AS after_ids, o.kind, o.user_id,
       COALESCE(o.version, o.id) AS version, o.subject_id AS id,
       p.author_id, p.content, p.privacy, p.created_at, p.updated_at
FROM outbox AS o
LEFT JOIN post AS p ON o.kind LIKE 'post.%' AND p.id = o.subject_id
WHERE o.created_at < UTC_TIMESTAMP(6) - INTERVAL ROUND($1 * 1000000) MICROSECOND
ORDER BY o.id
LIMIT $2;
