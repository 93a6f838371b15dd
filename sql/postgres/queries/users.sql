-- name: user_by_ids
SELECT id, username, first_name, last_name, birthdate, bio, city, country, version
FROM "user"
WHERE id = ANY($1::integer[]);

-- name: user_versions
SELECT id, version
FROM "user"
WHERE id = ANY($1::integer[]);

-- name: user_credentials
SELECT id, password_hash, token_version, disabled
FROM "user"
WHERE username_key = $1;

-- name: user_credentials_by_id
SELECT id, password_hash, token_version, disabled
FROM "user"
WHERE id = $1;

-- name: user_account_status
-- What a token is held against.
SELECT id, token_version, disabled, is_superuser
FROM "user"
WHERE id = ANY($1::integer[]);

-- name: user_create
-- No row when the name is taken: of simultaneous registrations one wins.
INSERT INTO "user" (
    username, username_key, password_hash, first_name, last_name, first_key, last_key,
    birthdate, bio, city, country
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (username_key) DO NOTHING
RETURNING id, username, first_name, last_name, birthdate, bio, city, country, version;

-- name: user_update
-- Required fields stay when null is passed, optional ones unless named in $6.
UPDATE "user"
SET first_name = coalesce($2, first_name),
    last_name = coalesce($3, last_name),
    first_key = coalesce($4, first_key),
    last_key = coalesce($5, last_key),
    birthdate = CASE WHEN 'birthdate' = ANY($6::text[]) THEN $7 ELSE birthdate END,
    bio = CASE WHEN 'bio' = ANY($6::text[]) THEN $8 ELSE bio END,
    city = CASE WHEN 'city' = ANY($6::text[]) THEN $9 ELSE city END,
    country = CASE WHEN 'country' = ANY($6::text[]) THEN $10 ELSE country END,
    version = version + 1
WHERE id = $1
RETURNING id, username, first_name, last_name, birthdate, bio, city, country, version;

-- name: user_set_password
-- Only where the hash that was verified still stands: two changes at once must not both win.
UPDATE "user"
SET password_hash = $3, token_version = token_version + 1
WHERE id = $1 AND password_hash = $2
RETURNING id;

-- name: user_rehash
-- The same password under other parameters, unless it was changed meanwhile. Tokens stay good.
UPDATE "user"
SET password_hash = $3
WHERE id = $1 AND password_hash = $2;

-- name: user_set_disabled
-- By user $3 with a token of version $4: what a superuser may do ends with her tokens.
UPDATE "user"
SET disabled = coalesce($2, disabled)
WHERE id = $1
  AND EXISTS (
    SELECT FROM "user" AS me
    WHERE me.id = $3 AND me.is_superuser AND NOT me.disabled AND me.token_version = $4
  )
RETURNING id, username, first_name, last_name, birthdate, bio, city, country, version;

-- name: user_make_superuser
-- Somebody who is there, and no superuser, becomes one only when that is meant ($8): no row
-- otherwise. The name may have been registered by whoever guessed that it would be used.
INSERT INTO "user" (
    username, username_key, password_hash, first_name, last_name, first_key, last_key, is_superuser
)
VALUES ($1, $2, $3, $4, $5, $6, $7, true)
ON CONFLICT (username_key) DO UPDATE
SET password_hash = excluded.password_hash,
    is_superuser = true,
    disabled = false,
    token_version = "user".token_version + 1
WHERE "user".is_superuser OR $8
RETURNING id;

-- Search: keys of first names begin with `first` and are less than `first_end`, and so for last names.
-- The ids and versions of each page, as text: several searches are read at once, and `number` says
-- whose a row is. The plan is made before the letters are known, so each statement has an arm for few
-- users that match and one for many, and of each search one arm runs. Fewer than 200: all are found in
-- the index on the names, and sorted (by `id + 0`: the planner would walk the primary key for the
-- order). More: users with the same first letter are passed in the order of their ids until the page
-- is full; many match, so it soon is. For two names, of which each is looked at, these are the users
-- with the same pair of first letters. So a search takes as long among a million users as among a
-- thousand; one for two names at most the time that all users of one pair of letters take, where few of
-- them match. Every index holds both names and the version.

-- name: user_find_by_first
SELECT k.number, (
    SELECT string_agg(page.id || ':' || page.version, ',')
    FROM (
        (SELECT u.id, u.version
        FROM "user" AS u
        WHERE u.first_key >= k.first AND u.first_key < k.first_end
          AND u.id > k.after AND many.id IS NULL
        ORDER BY u.id + 0
        LIMIT k.most)
        UNION ALL
        (SELECT u.id, u.version
        FROM "user" AS u
        WHERE left(u.first_key, 1) = left(k.first, 1)
          AND u.first_key >= k.first AND u.first_key < k.first_end
          AND u.id > k.after AND many.id IS NOT NULL
        ORDER BY left(u.first_key, 1), u.id
        LIMIT k.most)
    ) AS page
) AS found
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::integer[])
     WITH ORDINALITY AS k (first, first_end, after, most, number)
LEFT JOIN LATERAL (
    SELECT u.id
    FROM "user" AS u
    WHERE u.first_key >= k.first AND u.first_key < k.first_end
    OFFSET 199
    LIMIT 1
) AS many ON true;

-- name: user_find_by_last
SELECT k.number, (
    SELECT string_agg(page.id || ':' || page.version, ',')
    FROM (
        (SELECT u.id, u.version
        FROM "user" AS u
        WHERE u.last_key >= k.last AND u.last_key < k.last_end
          AND u.id > k.after AND many.id IS NULL
        ORDER BY u.id + 0
        LIMIT k.most)
        UNION ALL
        (SELECT u.id, u.version
        FROM "user" AS u
        WHERE left(u.last_key, 1) = left(k.last, 1)
          AND u.last_key >= k.last AND u.last_key < k.last_end
          AND u.id > k.after AND many.id IS NOT NULL
        ORDER BY left(u.last_key, 1), u.id
        LIMIT k.most)
    ) AS page
) AS found
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::integer[])
     WITH ORDINALITY AS k (last, last_end, after, most, number)
LEFT JOIN LATERAL (
    SELECT u.id
    FROM "user" AS u
    WHERE u.last_key >= k.last AND u.last_key < k.last_end
    OFFSET 199
    LIMIT 1
) AS many ON true;

-- name: user_find_by_both
SELECT k.number, (
    SELECT string_agg(page.id || ':' || page.version, ',')
    FROM (
        (SELECT u.id, u.version
        FROM "user" AS u
        WHERE u.first_key >= k.first AND u.first_key < k.first_end
          AND starts_with(u.last_key, k.last)
          AND u.id > k.after AND many_first.id IS NULL
        ORDER BY u.id + 0
        LIMIT k.most)
        UNION ALL
        (SELECT u.id, u.version
        FROM "user" AS u
        WHERE u.last_key >= k.last AND u.last_key < k.last_end
          AND starts_with(u.first_key, k.first)
          AND u.id > k.after AND many_first.id IS NOT NULL AND many_last.id IS NULL
        ORDER BY u.id + 0
        LIMIT k.most)
        UNION ALL
        (SELECT u.id, u.version
        FROM "user" AS u
        WHERE left(u.first_key, 1) = left(k.first, 1) AND left(u.last_key, 1) = left(k.last, 1)
          AND starts_with(u.first_key, k.first) AND starts_with(u.last_key, k.last)
          AND u.id > k.after AND many_last.id IS NOT NULL
        ORDER BY left(u.first_key, 1), left(u.last_key, 1), u.id
        LIMIT k.most)
    ) AS page
) AS found
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::integer[])
     WITH ORDINALITY AS k (first, first_end, last, last_end, after, most, number)
LEFT JOIN LATERAL (
    SELECT u.id
    FROM "user" AS u
    WHERE u.first_key >= k.first AND u.first_key < k.first_end
    OFFSET 199
    LIMIT 1
) AS many_first ON true
LEFT JOIN LATERAL (
    -- Not looked at where the first name is rare: many_last is null then, too.
    SELECT u.id
    FROM "user" AS u
    WHERE u.last_key >= k.last AND u.last_key < k.last_end AND many_first.id IS NOT NULL
    OFFSET 199
    LIMIT 1
) AS many_last ON true;
