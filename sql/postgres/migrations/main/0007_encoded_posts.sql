-- Pages of posts are put together from JSON that was made when a post was written. A row without it
-- is read from its columns: one of before, of a process of before, or changed since.
ALTER TABLE post ADD COLUMN encoded text COLLATE "C"; -- what follows a post's id: 5,"author_id":…


-- A time as the service writes it in JSON.
CREATE FUNCTION json_time(p_at timestamptz) RETURNS text
LANGUAGE sql STABLE AS $$
SELECT '"' || replace(
    to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z'
) || '"'
$$;


-- What a post's encoded is. p_content is JSON already, and so are the times; null if one of them is.
CREATE FUNCTION post_json(
    p_author_id integer, p_content text, p_privacy text, p_created_at text, p_updated_at text
) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
SELECT ',"author_id":' || p_author_id || ',"content":' || p_content
    || ',"privacy":"' || p_privacy || '","created_at":' || p_created_at
    || ',"updated_at":' || p_updated_at
$$;


-- POST /posts. created is false when this client_id had been posted before. p_encoded: the content
-- as JSON; null leaves the post without. (The function without it stays for processes of before.)
CREATE FUNCTION post_create(
    p_author_id integer, p_content text, p_privacy text, p_client_id text, p_encoded text
)
RETURNS TABLE (
    id bigint, author_id integer, content text, privacy text,
    created_at timestamptz, updated_at timestamptz, version integer,
    created boolean, event_id bigint, after_users integer[], after_ids bigint[]
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now text := json_time(now());
BEGIN
    PERFORM pg_advisory_xact_lock(p_author_id);
    INSERT INTO post (author_id, content, privacy, client_id, encoded)
    VALUES (
        p_author_id, p_content, p_privacy, p_client_id,
        post_json(p_author_id, p_encoded, p_privacy, v_now, v_now)
    )
    ON CONFLICT (author_id, client_id) WHERE client_id IS NOT NULL DO NOTHING
    RETURNING post.id, post.author_id, post.content, post.privacy,
              post.created_at, post.updated_at, post.version, true
    INTO id, author_id, content, privacy, created_at, updated_at, version, created;
    IF NOT FOUND THEN
        -- The first one has committed: a conflict waits for it.
        RETURN QUERY
        SELECT p.id, p.author_id, p.content, p.privacy, p.created_at, p.updated_at, p.version,
               false, NULL::bigint, NULL::integer[], NULL::bigint[]
        FROM post p WHERE p.author_id = p_author_id AND p.client_id = p_client_id;
        RETURN;
    END IF;
    INSERT INTO outbox (kind, user_id, subject_id, version)
    VALUES ('post.created', p_author_id, id, version)
    RETURNING outbox.id INTO event_id;
    SELECT b.after_users, b.after_ids INTO after_users, after_ids
    FROM outbox_before_post(p_author_id, event_id) b;
    RETURN NEXT;
END
$$;


-- PATCH /posts/{p_id}: what is null stays as it is. No row where it is not p_me's. p_encoded: the
-- content as JSON; null leaves the post without. (The function without it stays, too.)
CREATE FUNCTION post_change(
    p_id bigint, p_me integer, p_content text, p_privacy text, p_encoded text
)
RETURNS TABLE (
    id bigint, author_id integer, content text, privacy text,
    created_at timestamptz, updated_at timestamptz, version integer,
    event_id bigint, after_users integer[], after_ids bigint[]
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(p_me);
    v_now := clock_timestamp();
    UPDATE post p
    SET content = coalesce(p_content, p.content),
        privacy = coalesce(p_privacy, p.privacy),
        updated_at = v_now,
        version = p.version + 1,
        encoded = post_json(
            p.author_id, p_encoded, coalesce(p_privacy, p.privacy),
            json_time(p.created_at), json_time(v_now)
        )
    WHERE p.id = p_id AND p.author_id = p_me
    RETURNING p.id, p.author_id, p.content, p.privacy, p.created_at, p.updated_at, p.version
    INTO id, author_id, content, privacy, created_at, updated_at, version;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO outbox (kind, user_id, subject_id, version)
    VALUES ('post.updated', p_me, id, version)
    RETURNING outbox.id INTO event_id;
    SELECT b.after_users, b.after_ids INTO after_users, after_ids
    FROM outbox_before_post(p_me, event_id) b;
    RETURN NEXT;
END
$$;


-- Whatever changes what is shown leaves no JSON of before. Whatever changes anything else than the
-- JSON raises the version, which is the post's ETag.
CREATE OR REPLACE FUNCTION post_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version <= OLD.version THEN
        NEW.version := OLD.version + 1;
    END IF;
    IF NEW.encoded = OLD.encoded
        AND (NEW.author_id, NEW.content, NEW.privacy, NEW.created_at, NEW.updated_at)
            IS DISTINCT FROM
            (OLD.author_id, OLD.content, OLD.privacy, OLD.created_at, OLD.updated_at) THEN
        NEW.encoded := NULL;
    END IF;
    RETURN NEW;
END
$$;

DROP TRIGGER post_edited ON post;

CREATE TRIGGER post_edited BEFORE UPDATE ON post
FOR EACH ROW WHEN (
    (NEW.id, NEW.author_id, NEW.content, NEW.privacy, NEW.client_id, NEW.version, NEW.created_at,
     NEW.updated_at)
    IS DISTINCT FROM
    (OLD.id, OLD.author_id, OLD.content, OLD.privacy, OLD.client_id, OLD.version, OLD.created_at,
     OLD.updated_at)
)
EXECUTE FUNCTION post_changed();


-- A wall is the same when a post of it has only got its JSON: it has its version still.
CREATE OR REPLACE FUNCTION walls_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO wall AS w (author_id, changes)
    SELECT p.author_id, 1
    FROM (
        SELECT b.author_id FROM before AS b
        WHERE NOT EXISTS (
            SELECT FROM changed AS c
            WHERE c.id = b.id AND c.version = b.version AND c.author_id = b.author_id
        )
        UNION
        SELECT c.author_id FROM changed AS c
        WHERE NOT EXISTS (
            SELECT FROM before AS b
            WHERE b.id = c.id AND b.version = c.version AND b.author_id = c.author_id
        )
    ) AS p
    ORDER BY p.author_id
    ON CONFLICT (author_id) DO UPDATE SET changes = w.changes + 1;
    RETURN NULL;
END
$$;
