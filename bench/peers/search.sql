-- What the peers search with: a page of whole users in one statement, found as the service finds it.

-- name: user_search_first
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM "user"
WHERE id = ANY(ARRAY(
    WITH many AS MATERIALIZED (
        SELECT EXISTS (
            SELECT FROM "user"
            WHERE first_key >= $1 AND first_key < $2
            OFFSET 199
        ) AS are_there
    )
    (SELECT id
    FROM "user"
    WHERE first_key >= $1 AND first_key < $2
      AND id > $3::bigint AND NOT (SELECT are_there FROM many)
    ORDER BY id + 0
    LIMIT $4)
    UNION ALL
    (SELECT id
    FROM "user"
    WHERE left(first_key, 1) = left($1, 1)
      AND first_key >= $1 AND first_key < $2
      AND id > $3::bigint AND (SELECT are_there FROM many)
    ORDER BY left(first_key, 1), id
    LIMIT $4)
))
ORDER BY id;

-- name: user_search_last
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM "user"
WHERE id = ANY(ARRAY(
    WITH many AS MATERIALIZED (
        SELECT EXISTS (
            SELECT FROM "user"
            WHERE last_key >= $1 AND last_key < $2
            OFFSET 199
        ) AS are_there
    )
    (SELECT id
    FROM "user"
    WHERE last_key >= $1 AND last_key < $2
      AND id > $3::bigint AND NOT (SELECT are_there FROM many)
    ORDER BY id + 0
    LIMIT $4)
    UNION ALL
    (SELECT id
    FROM "user"
    WHERE left(last_key, 1) = left($1, 1)
      AND last_key >= $1 AND last_key < $2
      AND id > $3::bigint AND (SELECT are_there FROM many)
    ORDER BY left(last_key, 1), id
    LIMIT $4)
))
ORDER BY id;

-- name: user_search_first_then_last
-- For a first name that is the longer prefix: `|| ''` leaves the choice of the
-- index to it, because the plan is made before the prefixes are known.
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM "user"
WHERE id = ANY(ARRAY(
    WITH many AS MATERIALIZED (
        SELECT EXISTS (
            SELECT FROM "user"
            WHERE first_key >= $1 AND first_key < $2
              AND last_key || '' >= $5 AND last_key || '' < $6
            OFFSET 199
        ) AS are_there
    )
    (SELECT id
    FROM "user"
    WHERE first_key >= $1 AND first_key < $2
      AND last_key || '' >= $5 AND last_key || '' < $6
      AND id > $3::bigint AND NOT (SELECT are_there FROM many)
    ORDER BY id + 0
    LIMIT $4)
    UNION ALL
    (SELECT id
    FROM "user"
    WHERE left(first_key, 1) = left($1, 1)
      AND first_key >= $1 AND first_key < $2
      AND last_key || '' >= $5 AND last_key || '' < $6
      AND id > $3::bigint AND (SELECT are_there FROM many)
    ORDER BY left(first_key, 1), id
    LIMIT $4)
))
ORDER BY id;

-- name: user_search_last_then_first
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM "user"
WHERE id = ANY(ARRAY(
    WITH many AS MATERIALIZED (
        SELECT EXISTS (
            SELECT FROM "user"
            WHERE last_key >= $1 AND last_key < $2
              AND first_key || '' >= $5 AND first_key || '' < $6
            OFFSET 199
        ) AS are_there
    )
    (SELECT id
    FROM "user"
    WHERE last_key >= $1 AND last_key < $2
      AND first_key || '' >= $5 AND first_key || '' < $6
      AND id > $3::bigint AND NOT (SELECT are_there FROM many)
    ORDER BY id + 0
    LIMIT $4)
    UNION ALL
    (SELECT id
    FROM "user"
    WHERE left(last_key, 1) = left($1, 1)
      AND last_key >= $1 AND last_key < $2
      AND first_key || '' >= $5 AND first_key || '' < $6
      AND id > $3::bigint AND (SELECT are_there FROM many)
    ORDER BY left(last_key, 1), id
    LIMIT $4)
))
ORDER BY id;
