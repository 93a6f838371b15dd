-- What the peers search with: a page of whole users in one statement, found as the service finds it.

-- name: user_search_first
WITH few AS MATERIALIZED (
    SELECT id
    FROM "user"
    WHERE first_key >= $1 AND first_key < $2
    LIMIT 200
)
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM "user"
WHERE id = ANY(ARRAY(
    (SELECT id
    FROM few
    WHERE id > $3::bigint AND (SELECT count(*) < 200 FROM few)
    ORDER BY id
    LIMIT $4)
    UNION ALL
    (SELECT id
    FROM "user"
    WHERE left(first_key, 1) = left($1, 1) AND id > $3::bigint
      AND first_key >= $1 AND first_key < $2
      AND (SELECT count(*) = 200 FROM few)
    ORDER BY left(first_key, 1), id
    LIMIT $4)
))
ORDER BY id;

-- name: user_search_last
WITH few AS MATERIALIZED (
    SELECT id
    FROM "user"
    WHERE last_key >= $1 AND last_key < $2
    LIMIT 200
)
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM "user"
WHERE id = ANY(ARRAY(
    (SELECT id
    FROM few
    WHERE id > $3::bigint AND (SELECT count(*) < 200 FROM few)
    ORDER BY id
    LIMIT $4)
    UNION ALL
    (SELECT id
    FROM "user"
    WHERE left(last_key, 1) = left($1, 1) AND id > $3::bigint
      AND last_key >= $1 AND last_key < $2
      AND (SELECT count(*) = 200 FROM few)
    ORDER BY left(last_key, 1), id
    LIMIT $4)
))
ORDER BY id;

-- name: user_search_first_then_last
-- For a first name that is the longer prefix: `|| ''` leaves the choice of the
-- index to it, because the plan is made before the prefixes are known.
WITH few AS MATERIALIZED (
    SELECT id
    FROM "user"
    WHERE first_key >= $1 AND first_key < $2
      AND last_key || '' >= $5 AND last_key || '' < $6
    LIMIT 200
)
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM "user"
WHERE id = ANY(ARRAY(
    (SELECT id
    FROM few
    WHERE id > $3::bigint AND (SELECT count(*) < 200 FROM few)
    ORDER BY id
    LIMIT $4)
    UNION ALL
    (SELECT id
    FROM "user"
    WHERE left(first_key, 1) = left($1, 1) AND id > $3::bigint
      AND first_key >= $1 AND first_key < $2
      AND last_key || '' >= $5 AND last_key || '' < $6
      AND (SELECT count(*) = 200 FROM few)
    ORDER BY left(first_key, 1), id
    LIMIT $4)
))
ORDER BY id;

-- name: user_search_last_then_first
WITH few AS MATERIALIZED (
    SELECT id
    FROM "user"
    WHERE last_key >= $1 AND last_key < $2
      AND first_key || '' >= $5 AND first_key || '' < $6
    LIMIT 200
)
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM "user"
WHERE id = ANY(ARRAY(
    (SELECT id
    FROM few
    WHERE id > $3::bigint AND (SELECT count(*) < 200 FROM few)
    ORDER BY id
    LIMIT $4)
    UNION ALL
    (SELECT id
    FROM "user"
    WHERE left(last_key, 1) = left($1, 1) AND id > $3::bigint
      AND last_key >= $1 AND last_key < $2
      AND first_key || '' >= $5 AND first_key || '' < $6
      AND (SELECT count(*) = 200 FROM few)
    ORDER BY left(last_key, 1), id
    LIMIT $4)
))
ORDER BY id;
