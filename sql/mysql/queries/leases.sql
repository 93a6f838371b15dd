-- name: lease_take
-- A row when the lease is mine for $3 more seconds.
CALL lease_take($1, $2, $3);
