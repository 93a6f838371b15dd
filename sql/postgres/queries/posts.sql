-- Who may see a post is decided in the statement that reads it.

-- name: post_create
-- Where nothing is written, a record in the log lets the commit wait for the synchronous standbys,
-- as it does for the post itself: what is answered is what outlives the primary.
SELECT id, author_id, content, privacy, created_at, updated_at, version, created, event_id,
       after_users, after_ids
FROM post_create($1, $2, $3, $4, $5)
WHERE created OR pg_logical_emit_message(true, 'hlfast', 'repeated') IS NOT NULL;

-- name: post_get
SELECT p.id, p.author_id, p.content, p.privacy, p.created_at, p.updated_at, p.version
FROM post AS p
WHERE p.id = $1
  AND (
    p.privacy = 'public'
    OR p.author_id = $2
    OR EXISTS (
        SELECT FROM friend AS f WHERE f.user_id = $2 AND f.friend_id = p.author_id AND f.state = 3
    )
  );

-- name: post_change
SELECT id, author_id, content, privacy, created_at, updated_at, version, event_id,
       after_users, after_ids
FROM post_change($1, $2, $3, $4, $5);

-- name: post_remove
-- The author's, or any for a superuser whose token is of version $3.
SELECT id, author_id, event_id, after_users, after_ids
FROM post_remove($1, $2, $3);

-- name: post_wall
-- $1 the author, $2 who looks.
SELECT p.id, p.author_id, p.content, p.privacy, p.created_at, p.updated_at, p.version
FROM post AS p
WHERE p.author_id = $1
  AND p.id < $3
  AND (
    p.privacy = 'public'
    OR $1::integer = $2::integer
    OR EXISTS (SELECT FROM friend AS f WHERE f.user_id = $2 AND f.friend_id = $1 AND f.state = 3)
  )
ORDER BY p.id DESC
LIMIT $4;

-- name: post_wall_encoded
-- The same page as lines of bytes, each of a post's id and its JSON after that, or a tab where a row
-- has none.
SELECT convert_to(p.id || coalesce(p.encoded, E'\t'), 'UTF8') AS line
FROM post AS p
WHERE p.author_id = $1
  AND p.id < $3
  AND (
    p.privacy = 'public'
    OR $1::integer = $2::integer
    OR EXISTS (SELECT FROM friend AS f WHERE f.user_id = $2 AND f.friend_id = $1 AND f.state = 3)
  )
ORDER BY p.id DESC
LIMIT $4;

-- name: post_encode
-- $1: JSON of a list of posts, each with the JSON of its row in this version. Whoever is at work on
-- a row leaves it without any.
UPDATE post AS p
SET encoded = e.encoded
FROM json_to_recordset($1::json) AS e (id bigint, version integer, encoded text)
WHERE p.id = e.id AND p.version = e.version AND p.encoded IS NULL
  AND p.id = ANY(ARRAY(
    SELECT w.id
    FROM json_to_recordset($1::json) AS k (id bigint)
    JOIN post AS w ON w.id = k.id AND w.encoded IS NULL
    FOR UPDATE OF w SKIP LOCKED
  ));

-- name: feed_versions
-- What changes with everything that the feed of a user shows: their friends, and whatever those
-- post, edit and delete.
-- One user after another: for all at once a plan made beforehand reads every author there is.
SELECT k.user_id, m.friends, m.friend_versions, m.changes
FROM unnest($1::integer[]) AS k (user_id)
CROSS JOIN LATERAL (
    SELECT count(*) AS friends, sum(f.version)::bigint AS friend_versions,
           coalesce(sum(w.changes), 0)::bigint AS changes
    FROM friend AS f
    LEFT JOIN wall AS w ON w.author_id = f.friend_id
    WHERE f.user_id = k.user_id AND f.state = 3
) AS m
WHERE m.friends > 0;

-- name: post_feed
-- A page from each friend's wall, of which the newest are taken: the cost follows
-- the number of friends, never the number of posts.
SELECT p.id, p.author_id, p.content, p.privacy, p.created_at, p.updated_at, p.version
FROM post AS p
WHERE p.id = ANY(ARRAY(
    SELECT newest.id
    FROM friend AS f
    CROSS JOIN LATERAL (
        SELECT w.id
        FROM post AS w
        WHERE w.author_id = f.friend_id AND w.id < $2
        ORDER BY w.id DESC
        LIMIT $3
    ) AS newest
    WHERE f.user_id = $1 AND f.state = 3
    ORDER BY newest.id DESC
    LIMIT $3
))
ORDER BY p.id DESC;

-- name: post_feed_encoded
-- The same page as lines, as a wall's.
SELECT convert_to(p.id || coalesce(p.encoded, E'\t'), 'UTF8') AS line
FROM post AS p
WHERE p.id = ANY(ARRAY(
    SELECT newest.id
    FROM friend AS f
    CROSS JOIN LATERAL (
        SELECT w.id
        FROM post AS w
        WHERE w.author_id = f.friend_id AND w.id < $2
        ORDER BY w.id DESC
        LIMIT $3
    ) AS newest
    WHERE f.user_id = $1 AND f.state = 3
    ORDER BY newest.id DESC
    LIMIT $3
))
ORDER BY p.id DESC;

-- name: post_feed_newest
-- The same page from the $4 newest ids of everybody's posts; fewer than $3 rows say nothing of what
-- is older. OFFSET keeps the order in which the posts are walked, whatever the planner thinks.
SELECT p.id, p.author_id, p.content, p.privacy, p.created_at, p.updated_at, p.version
FROM post AS p
CROSS JOIN LATERAL (
    SELECT FROM friend AS f
    WHERE f.user_id = $1 AND f.friend_id = p.author_id AND f.state = 3
    OFFSET 0
) AS shown
WHERE p.id < $2 AND p.id > (SELECT max(n.id) FROM post AS n WHERE n.id < $2) - $4
ORDER BY p.id DESC
LIMIT $3;

-- name: post_feed_newest_encoded
-- The same page as lines, as a wall's.
SELECT convert_to(p.id || coalesce(p.encoded, E'\t'), 'UTF8') AS line
FROM post AS p
CROSS JOIN LATERAL (
    SELECT FROM friend AS f
    WHERE f.user_id = $1 AND f.friend_id = p.author_id AND f.state = 3
    OFFSET 0
) AS shown
WHERE p.id < $2 AND p.id > (SELECT max(n.id) FROM post AS n WHERE n.id < $2) - $4
ORDER BY p.id DESC
LIMIT $3;

-- name: feed_reached
-- How many posts of a feed are not older than $2, as far as $3 of them: how far back a page begins
-- is counted here, whatever a client says.
SELECT count(*) AS posts
FROM (
    SELECT FROM friend AS f
    CROSS JOIN LATERAL (
        SELECT FROM post AS w
        WHERE w.author_id = f.friend_id AND w.id >= $2
        LIMIT $3
    ) AS newer
    WHERE f.user_id = $1 AND f.state = 3
    LIMIT $3
) AS reached;

-- name: feed_reached_newest
-- The same count, or no row where $2 is not among the $4 newest ids of everybody's posts.
SELECT count(*) AS posts
FROM (
    SELECT FROM post AS p
    CROSS JOIN LATERAL (
        SELECT FROM friend AS f
        WHERE f.user_id = $1 AND f.friend_id = p.author_id AND f.state = 3
        OFFSET 0
    ) AS shown
    WHERE p.id >= $2 AND $2 > (SELECT max(n.id) FROM post AS n WHERE n.id >= $2) - $4
    LIMIT $3
) AS reached
HAVING $2 > (SELECT max(n.id) FROM post AS n WHERE n.id >= $2) - $4;

-- name: friend_count
SELECT c.friends
FROM friendcount AS c
WHERE c.user_id = $1;

-- name: outbox_delete
-- The ids alone would do; the users beside them are what the index starts with.
DELETE FROM outbox AS o
USING unnest($1::integer[], $2::bigint[]) AS gone (user_id, id)
WHERE o.user_id = gone.user_id AND o.id = gone.id
RETURNING o.id;

-- name: outbox_up_to
-- What is left of a user's events up to $2, and of each friendship that is among them whatever its
-- pair did: nothing of it waits for anything else.
WITH partner AS (
    SELECT o.subject_id::integer AS id
    FROM outbox AS o
    WHERE o.user_id = $1 AND o.id <= $2 AND o.kind LIKE 'friend.%'
    UNION
    SELECT o.user_id
    FROM outbox AS o
    WHERE o.subject_id = $1 AND o.id <= $2 AND o.kind IN ('friend.added', 'friend.removed')
), row_left AS (
    SELECT o.id FROM outbox AS o WHERE o.user_id = $1 AND o.id <= $2
    UNION ALL
    SELECT o.id
    FROM partner AS f
    JOIN outbox AS o ON o.user_id = f.id
    WHERE o.subject_id = $1 AND o.id <= $2 AND o.kind LIKE 'friend.%'
)
SELECT o.id AS event_id, NULL::integer[] AS after_users, NULL::bigint[] AS after_ids, o.kind,
       o.user_id, o.version, o.subject_id AS id,
       p.author_id, p.content, p.privacy, p.created_at, p.updated_at
FROM row_left AS l
JOIN outbox AS o ON o.id = l.id
LEFT JOIN post AS p ON o.kind LIKE 'post.%' AND p.id = o.subject_id
ORDER BY o.id
LIMIT $3;

-- name: outbox_left
SELECT o.id AS event_id, NULL::integer[] AS after_users, NULL::bigint[] AS after_ids, o.kind, o.user_id, o.version,
       o.subject_id AS id, p.author_id, p.content, p.privacy, p.created_at, p.updated_at
FROM outbox AS o
LEFT JOIN post AS p ON o.kind LIKE 'post.%' AND p.id = o.subject_id
WHERE o.created_at < clock_timestamp() - $1::double precision * interval '1 second'
ORDER BY o.id
LIMIT $2;
