-- Concurrent pages share one statement: PostgreSQL's alone. For one page it costs half as much again as
-- the statement of that.

-- name: post_wall_encoded_many
-- Of each page its number from 1, and the lines of post_wall_encoded.
SELECT k.page, convert_to(found.lines, 'UTF8') AS lines
FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::integer[])
    WITH ORDINALITY AS k (author_id, me, before, up_to, page)
CROSS JOIN LATERAL (
    SELECT string_agg(shown.line, E'\n') AS lines
    FROM (
        SELECT p.id || coalesce(p.encoded, E'\t') AS line
        FROM post AS p
        WHERE p.author_id = k.author_id
          AND p.id < k.before
          AND (
            p.privacy = 'public'
            OR k.author_id = k.me
            OR EXISTS (
                SELECT FROM friend AS f
                WHERE f.user_id = k.me AND f.friend_id = k.author_id AND f.state = 3
            )
          )
        ORDER BY p.id DESC
        LIMIT k.up_to
    ) AS shown
) AS found
WHERE found.lines IS NOT NULL;

-- name: post_feed_encoded_many
-- The same of post_feed_encoded.
SELECT k.page, convert_to(found.lines, 'UTF8') AS lines
FROM unnest($1::integer[], $2::bigint[], $3::integer[])
    WITH ORDINALITY AS k (me, before, up_to, page)
CROSS JOIN LATERAL (
    SELECT string_agg(shown.line, E'\n') AS lines
    FROM (
        SELECT p.id || coalesce(p.encoded, E'\t') AS line
        FROM post AS p
        WHERE p.id = ANY(ARRAY(
            SELECT newest.id
            FROM friend AS f
            CROSS JOIN LATERAL (
                SELECT w.id
                FROM post AS w
                WHERE w.author_id = f.friend_id AND w.id < k.before
                ORDER BY w.id DESC
                LIMIT k.up_to
            ) AS newest
            WHERE f.user_id = k.me AND f.state = 3
            ORDER BY newest.id DESC
            LIMIT k.up_to
        ))
        ORDER BY p.id DESC
    ) AS shown
) AS found
WHERE found.lines IS NOT NULL;
