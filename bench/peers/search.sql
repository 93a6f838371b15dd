-- What the peers search with: a page of whole users in one statement.

-- name: user_search_first
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM "user"
WHERE id = ANY(ARRAY(
    SELECT id
    FROM "user"
    WHERE first_key >= $1 AND first_key < $2 AND id > $3::bigint
    ORDER BY id + 0
    LIMIT $4
))
ORDER BY id;

-- name: user_search_last
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM "user"
WHERE id = ANY(ARRAY(
    SELECT id
    FROM "user"
    WHERE last_key >= $1 AND last_key < $2 AND id > $3::bigint
    ORDER BY id + 0
    LIMIT $4
))
ORDER BY id;

-- name: user_search_first_then_last
-- For a first name that is the longer prefix: `|| ''` leaves the choice of the
-- index to it, because the plan is made before the prefixes are known.
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM "user"
WHERE id = ANY(ARRAY(
    SELECT id
    FROM "user"
    WHERE first_key >= $1 AND first_key < $2 AND id > $3::bigint
      AND last_key || '' >= $5 AND last_key || '' < $6
    ORDER BY id + 0
    LIMIT $4
))
ORDER BY id;

-- name: user_search_last_then_first
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM "user"
WHERE id = ANY(ARRAY(
    SELECT id
    FROM "user"
    WHERE last_key >= $1 AND last_key < $2 AND id > $3::bigint
      AND first_key || '' >= $5 AND first_key || '' < $6
    ORDER BY id + 0
    LIMIT $4
))
ORDER BY id;
