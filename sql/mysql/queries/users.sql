-- name: user_by_ids
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM user
WHERE id IN ($1);

-- name: user_versions
SELECT id, version
FROM user
WHERE id IN ($1);

-- name: user_credentials
SELECT id, password_hash, token_version, disabled
FROM user
WHERE username_key = $1;

-- name: user_credentials_by_id
SELECT id, password_hash, token_version, disabled
FROM user
WHERE id = $1;

-- name: user_account_status
-- What a token is held against.
SELECT id, token_version, disabled, is_superuser
FROM user
WHERE id IN ($1);

-- name: user_create
-- No row when the name is taken: of simultaneous registrations one wins.
CALL user_create($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: user_update
-- Required fields stay when null is passed, optional ones unless named in $6.
CALL user_update(
    $1, $2, $3, $4, $5, 'birthdate' IN ($6), $7, 'bio' IN ($6), $8, 'city' IN ($6), $9,
    'country' IN ($6), $10
);

-- name: user_set_password
-- Only where the hash that was verified still stands: two changes at once must not both win.
CALL user_set_password($1, $2, $3);

-- name: user_rehash
-- The same password under other parameters, unless it was changed meanwhile. Tokens stay good.
UPDATE user
SET password_hash = $3
WHERE id = $1 AND password_hash = $2;

-- name: user_set_disabled
-- By user $3 with a token of version $4: what a superuser may do ends with her tokens.
CALL user_set_disabled_by($1, $2, $3, $4);

-- name: user_make_superuser
-- Somebody who is there, and no superuser, becomes one only when that is meant ($8): no row
-- otherwise.
CALL superuser_make($1, $2, $3, $4, $5, $6, $7, $8);

-- Search: keys of first names begin with a text and are less than its end, and so for last names. Each
-- statement reads a range of the index on the names and keeps the lowest ids of it. The index is named:
-- by itself the planner walks the primary key for the order, which reads the whole table for a rare
-- name. Of two names the planner takes the rarer one, whose range it finds the shorter. Only the page's
-- rows are then fetched, for their versions, and written as text. Several searches are read at once,
-- each by a SELECT of its own, and $0 says whose a row is: there is no LATERAL in MariaDB.

-- name: user_find_by_first
SELECT STRAIGHT_JOIN
    $0 AS number, GROUP_CONCAT(CONCAT(u.id, ':', u.version) ORDER BY u.id) AS found
FROM (
    SELECT s.id
    FROM user AS s FORCE INDEX (user_first)
    WHERE s.first_key >= $1 AND s.first_key < $2 AND s.id > $3
    ORDER BY s.id
    LIMIT $4
) AS page
JOIN user AS u ON u.id = page.id;

-- name: user_find_by_last
SELECT STRAIGHT_JOIN
    $0 AS number, GROUP_CONCAT(CONCAT(u.id, ':', u.version) ORDER BY u.id) AS found
FROM (
    SELECT s.id
    FROM user AS s FORCE INDEX (user_last)
    WHERE s.last_key >= $1 AND s.last_key < $2 AND s.id > $3
    ORDER BY s.id
    LIMIT $4
) AS page
JOIN user AS u ON u.id = page.id;

-- name: user_find_by_both
SELECT STRAIGHT_JOIN
    $0 AS number, GROUP_CONCAT(CONCAT(u.id, ':', u.version) ORDER BY u.id) AS found
FROM (
    SELECT s.id
    FROM user AS s FORCE INDEX (user_first, user_last)
    WHERE s.first_key >= $1 AND s.first_key < $2 AND s.last_key >= $3 AND s.last_key < $4
      AND s.id > $5
    ORDER BY s.id
    LIMIT $6
) AS page
JOIN user AS u ON u.id = page.id;
