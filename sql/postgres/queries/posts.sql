-- Who may see a post is decided in the statement that reads it.

-- name: post_create
SELECT id, author_id, content, privacy, created_at, updated_at, version, created, event_id
FROM post_create($1, $2, $3, $4);

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

-- name: post_update
WITH changed AS (
    UPDATE post
    SET content = coalesce($3, content),
        privacy = coalesce($4, privacy),
        updated_at = clock_timestamp(),
        version = version + 1
    WHERE id = $1 AND author_id = $2
    RETURNING id, author_id, content, privacy, created_at, updated_at, version
), told AS (
    INSERT INTO outbox (kind, user_id, subject_id, version)
    SELECT 'post.updated', author_id, id, version FROM changed
    RETURNING id AS event_id
)
SELECT id, author_id, content, privacy, created_at, updated_at, version, event_id
FROM changed, told;

-- name: post_delete
-- The author's, or any for a superuser.
WITH gone AS (
    DELETE FROM post
    WHERE id = $1
      AND (
        author_id = $2
        OR EXISTS (SELECT FROM "user" AS me WHERE me.id = $2 AND me.is_superuser AND NOT me.disabled)
      )
    RETURNING id, author_id, version
), told AS (
    INSERT INTO outbox (kind, user_id, subject_id, version)
    SELECT 'post.deleted', author_id, id, version + 1 FROM gone
    RETURNING id AS event_id
)
SELECT id, event_id
FROM gone, told;

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

-- name: post_feed
-- A page from each friend's wall, of which the newest are kept: the cost follows
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
