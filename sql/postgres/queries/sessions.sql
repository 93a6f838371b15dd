-- name: session_start
-- A new one of user $2, good for $3 seconds. A user has $4 at most: of more, those go that were
-- renewed longest ago. Up to $5 that have expired go, too, whosever they are: more than come, and
-- never many at once.
WITH expired AS (
    DELETE FROM session
    WHERE id IN (
        SELECT s.id FROM session AS s
        WHERE s.expires_at < now()
        ORDER BY s.expires_at
        LIMIT $5
        FOR UPDATE SKIP LOCKED
    )
),
too_many AS (
    DELETE FROM session
    WHERE id IN (
        SELECT s.id FROM session AS s
        WHERE s.id IN (
            SELECT o.id FROM session AS o
            WHERE o.user_id = $2 AND NOT o.inherited
            ORDER BY o.expires_at DESC
            OFFSET $4::integer - 1
        )
        FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO session (id, user_id, generation, expires_at)
VALUES ($1, $2, 0, clock_timestamp() + $3::double precision * interval '1 second')
RETURNING id;

-- name: session_renew
SELECT outcome, used_ms FROM session_renew($1, $2, $3, $4, $5, $6, $7);

-- name: session_end
SELECT session_end($1, $2, $3, $4);

-- name: password_parameters
-- All that are known, $1 from now on among them.
WITH mine AS (
    INSERT INTO passwordparameters (parameters) VALUES ($1) ON CONFLICT DO NOTHING
)
SELECT p.parameters FROM passwordparameters AS p
UNION
SELECT $1
ORDER BY parameters;
