-- name: lease_take
-- A row when the lease is mine for $3 more seconds.
INSERT INTO lease (name, holder, expires_at)
VALUES ($1, $2, clock_timestamp() + $3::double precision * interval '1 second')
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, expires_at = excluded.expires_at
WHERE lease.holder = excluded.holder OR lease.expires_at < clock_timestamp()
RETURNING holder;
