-- name: session_start
-- A new one of user $2, good for $3 seconds; $4 is how many one user has, and up to $5 expired ones
-- are deleted.
CALL session_start($1, $2, $3, $4, $5);

-- name: session_renew
CALL session_renew($1, $2, $3, $4, $5, $6, $7);

-- name: session_end
CALL session_end($1, $2, $3, $4);

-- name: password_parameters
-- All that are known, $1 from now on among them.
CALL password_parameters($1);
