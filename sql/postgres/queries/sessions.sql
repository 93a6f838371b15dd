-- name: session_start
-- A new one of user $2, good for $3 seconds; $4 is how many one user has, and up to $5 expired ones
-- are deleted.
SELECT id FROM session_start($1, $2, $3, $4, $5) AS id;

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
