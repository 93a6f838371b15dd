-- Users, friendships, posts, and the events that tell of them.
--
-- No foreign keys: users are never deleted (only disabled), every author is an
-- authenticated user, and a key check per insert would lock the row of a
-- celebrity once for each of her posts.

-- Ids stay below 2^31, so that two of them fit into one dialog id.
CREATE SEQUENCE user_id_seq AS integer;

CREATE TABLE "user" (
    id            integer     PRIMARY KEY DEFAULT nextval('user_id_seq'),
    username      text        NOT NULL,
    -- Lower case; usernames are ASCII, so this needs no locale.
    username_key  text        COLLATE "C" NOT NULL UNIQUE,
    password_hash text        NOT NULL,
    first_name    text        NOT NULL,
    last_name     text        NOT NULL,
    -- What search compares: NFKC and case folded by the application, because
    -- lower() of a database in locale C knows ASCII only.
    first_key     text        COLLATE "C" NOT NULL,
    last_key      text        COLLATE "C" NOT NULL,
    birthdate     date,
    bio           text,
    city          text,
    country       text,
    is_superuser  boolean     NOT NULL DEFAULT false,
    disabled      boolean     NOT NULL DEFAULT false,
    -- Tokens carry it; raising it refuses every token issued before.
    token_version integer     NOT NULL DEFAULT 0,
    -- Raised by every change that others can see; the ETag.
    version       integer     NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT now()
);

ALTER SEQUENCE user_id_seq OWNED BY "user".id;

-- Both names and the id are in each index, so that a search reads no table page
-- but those of its answer.
CREATE INDEX user_first ON "user" (first_key, last_key, id);
CREATE INDEX user_last ON "user" (last_key, first_key, id);

-- Two rows for each pair, one seen from either side, written and deleted
-- together under the pair's advisory lock.
CREATE TABLE friend (
    user_id   integer  NOT NULL,
    friend_id integer  NOT NULL,
    -- 1: I asked them; 2: they asked me; 3: friends
    state     smallint NOT NULL CHECK (state IN (1, 2, 3)),
    -- Grows with every change of the pair, also over a break: older events of
    -- the pair are told from newer ones by it.
    version   bigint   NOT NULL,
    PRIMARY KEY (user_id, friend_id)
);

CREATE INDEX friend_state ON friend (user_id, state, friend_id);

CREATE SEQUENCE friend_version_seq;

-- Friends of a user, for the limit. Apart from "user", whose rows are wide.
CREATE TABLE friendcount (
    user_id integer PRIMARY KEY,
    friends integer NOT NULL
) WITH (fillfactor = 70);

CREATE SEQUENCE post_id_seq;

CREATE TABLE post (
    id         bigint      PRIMARY KEY DEFAULT nextval('post_id_seq'),
    author_id  integer     NOT NULL,
    content    text        NOT NULL,
    privacy    text        NOT NULL CHECK (privacy IN ('public', 'friends')),
    client_id  text,
    version    integer     NOT NULL DEFAULT 1,
    -- The same in a new row: whoever compares them sees whether it was edited.
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

ALTER SEQUENCE post_id_seq OWNED BY post.id;

CREATE INDEX post_author ON post (author_id, id);
CREATE UNIQUE INDEX post_client ON post (author_id, client_id) WHERE client_id IS NOT NULL;

-- Committed means it will be an event. A row names what happened; the text is
-- read from its table by whoever publishes. friend.withdrawn ends what was no
-- friendship yet.
CREATE SEQUENCE outbox_id_seq;

CREATE TABLE outbox (
    id         bigint      PRIMARY KEY DEFAULT nextval('outbox_id_seq'),
    kind       text        NOT NULL,
    user_id    integer     NOT NULL, -- the author, or who changed the friendship
    subject_id bigint      NOT NULL, -- the post, or the other user
    version    bigint      NOT NULL, -- of the post, or of the pair
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER SEQUENCE outbox_id_seq OWNED BY outbox.id;

CREATE INDEX outbox_user ON outbox (user_id, id);
CREATE INDEX outbox_subject ON outbox (subject_id)
WHERE kind IN ('friend.added', 'friend.removed');

-- One process at a time does what needs only one: whoever renewed its lease last.
CREATE TABLE lease (
    name       text        PRIMARY KEY,
    holder     text        NOT NULL,
    expires_at timestamptz NOT NULL
);


-- Rows that must be published before this one of the author's: the author's newest
-- before it, and friendships that began or ended, because they decide who is told.
-- Whoever publishes lets these go first. Called under the author's lock, so that
-- the others have committed.
CREATE FUNCTION outbox_before_post(
    p_author_id integer, p_event_id bigint, OUT after_users integer[], OUT after_ids bigint[]
)
LANGUAGE sql AS $$
SELECT array_agg(b.user_id ORDER BY b.id), array_agg(b.id ORDER BY b.id)
FROM (
    (
        SELECT o.user_id, o.id FROM outbox o
        WHERE o.user_id = p_author_id AND o.id < p_event_id AND o.kind LIKE 'post.%'
        ORDER BY o.id DESC
        LIMIT 1
    )
    UNION ALL
    SELECT o.user_id, o.id FROM outbox o
    WHERE o.user_id = p_author_id AND o.id < p_event_id
      AND o.kind IN ('friend.added', 'friend.removed')
    UNION ALL
    SELECT o.user_id, o.id FROM outbox o
    WHERE o.subject_id = p_author_id AND o.id < p_event_id
      AND o.kind IN ('friend.added', 'friend.removed')
) b
$$;


-- The same before one of a pair's, under the pair's lock.
CREATE FUNCTION outbox_before_friendship(
    p_one integer, p_other integer, p_event_id bigint,
    OUT after_users integer[], OUT after_ids bigint[]
)
LANGUAGE sql AS $$
SELECT array_agg(o.user_id ORDER BY o.id), array_agg(o.id ORDER BY o.id)
FROM outbox o
WHERE o.id < p_event_id AND o.kind LIKE 'friend.%'
  AND (o.user_id = p_one AND o.subject_id = p_other
       OR o.user_id = p_other AND o.subject_id = p_one)
$$;


-- PUT /friends/{p_other}. outcome: requested, friends, unknown, limit.
CREATE FUNCTION friend_put(p_me integer, p_other integer, p_limit integer)
RETURNS TABLE (
    outcome text, event_id bigint, version bigint, after_users integer[], after_ids bigint[]
)
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    v_state smallint;
BEGIN
    PERFORM pg_advisory_xact_lock(least(p_me, p_other)::bigint << 32 | greatest(p_me, p_other));
    SELECT f.state INTO v_state FROM friend f WHERE f.user_id = p_me AND f.friend_id = p_other;

    IF v_state IN (1, 3) THEN
        outcome := CASE v_state WHEN 1 THEN 'requested' ELSE 'friends' END;
        RETURN NEXT;
        RETURN;
    END IF;

    IF v_state IS NULL THEN
        IF NOT EXISTS (SELECT FROM "user" u WHERE u.id = p_other) THEN
            outcome := 'unknown';
            RETURN NEXT;
            RETURN;
        END IF;
        IF EXISTS (SELECT FROM friendcount c WHERE c.user_id = p_me AND c.friends >= p_limit) THEN
            outcome := 'limit';
            RETURN NEXT;
            RETURN;
        END IF;
        version := nextval('friend_version_seq');
        INSERT INTO friend (user_id, friend_id, state, version)
        VALUES (p_me, p_other, 1, version), (p_other, p_me, 2, version);
        INSERT INTO outbox (kind, user_id, subject_id, version)
        VALUES ('friend.requested', p_me, p_other, version)
        RETURNING id INTO event_id;
        SELECT b.after_users, b.after_ids INTO after_users, after_ids
        FROM outbox_before_friendship(p_me, p_other, event_id) b;
        outcome := 'requested';
        RETURN NEXT;
        RETURN;
    END IF;

    -- They asked me. Rows are locked in ascending order of user, or two
    -- acceptances that cross would wait for each other.
    INSERT INTO friendcount (user_id, friends)
    VALUES (least(p_me, p_other), 0), (greatest(p_me, p_other), 0)
    ON CONFLICT DO NOTHING;
    PERFORM FROM friendcount c WHERE c.user_id IN (p_me, p_other) ORDER BY c.user_id FOR UPDATE;
    IF EXISTS (SELECT FROM friendcount c WHERE c.user_id IN (p_me, p_other) AND c.friends >= p_limit) THEN
        outcome := 'limit';
        RETURN NEXT;
        RETURN;
    END IF;
    UPDATE friendcount c SET friends = c.friends + 1 WHERE c.user_id IN (p_me, p_other);
    version := nextval('friend_version_seq');
    UPDATE friend f SET state = 3, version = version
    WHERE (f.user_id, f.friend_id) IN ((p_me, p_other), (p_other, p_me));
    INSERT INTO outbox (kind, user_id, subject_id, version)
    VALUES ('friend.added', p_me, p_other, version)
    RETURNING id INTO event_id;
    SELECT b.after_users, b.after_ids INTO after_users, after_ids
    FROM outbox_before_friendship(p_me, p_other, event_id) b;
    outcome := 'friends';
    RETURN NEXT;
END
$$;


-- DELETE /friends/{p_other}. outcome: removed, withdrawn (it was but a request), none.
CREATE FUNCTION friend_delete(p_me integer, p_other integer)
RETURNS TABLE (
    outcome text, event_id bigint, version bigint, after_users integer[], after_ids bigint[]
)
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    v_state smallint;
BEGIN
    PERFORM pg_advisory_xact_lock(least(p_me, p_other)::bigint << 32 | greatest(p_me, p_other));
    DELETE FROM friend f WHERE f.user_id = p_me AND f.friend_id = p_other RETURNING f.state INTO v_state;
    IF v_state IS NULL THEN
        outcome := 'none';
        RETURN NEXT;
        RETURN;
    END IF;
    DELETE FROM friend f WHERE f.user_id = p_other AND f.friend_id = p_me;
    IF v_state = 3 THEN
        PERFORM FROM friendcount c WHERE c.user_id IN (p_me, p_other) ORDER BY c.user_id FOR UPDATE;
        UPDATE friendcount c SET friends = c.friends - 1 WHERE c.user_id IN (p_me, p_other);
    END IF;
    version := nextval('friend_version_seq');
    outcome := CASE v_state WHEN 3 THEN 'removed' ELSE 'withdrawn' END;
    INSERT INTO outbox (kind, user_id, subject_id, version)
    VALUES ('friend.' || outcome, p_me, p_other, version)
    RETURNING id INTO event_id;
    SELECT b.after_users, b.after_ids INTO after_users, after_ids
    FROM outbox_before_friendship(p_me, p_other, event_id) b;
    RETURN NEXT;
END
$$;


-- An author's events are told in the order in which they committed. The lock is
-- the author's own id, below every pair's; it is held until the commit is durable.

-- POST /posts. created is false when this client_id had been posted before.
CREATE FUNCTION post_create(p_author_id integer, p_content text, p_privacy text, p_client_id text)
RETURNS TABLE (
    id bigint, author_id integer, content text, privacy text,
    created_at timestamptz, updated_at timestamptz, version integer,
    created boolean, event_id bigint, after_users integer[], after_ids bigint[]
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(p_author_id);
    INSERT INTO post (author_id, content, privacy, client_id)
    VALUES (p_author_id, p_content, p_privacy, p_client_id)
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


-- PATCH /posts/{p_id}: null stays. No row when it is not mine.
CREATE FUNCTION post_change(p_id bigint, p_me integer, p_content text, p_privacy text)
RETURNS TABLE (
    id bigint, author_id integer, content text, privacy text,
    created_at timestamptz, updated_at timestamptz, version integer,
    event_id bigint, after_users integer[], after_ids bigint[]
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(p_me);
    UPDATE post p
    SET content = coalesce(p_content, p.content),
        privacy = coalesce(p_privacy, p.privacy),
        updated_at = clock_timestamp(),
        version = p.version + 1
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


-- DELETE /posts/{p_id}: the author's, or any for a superuser. No row for anybody else.
CREATE FUNCTION post_remove(p_id bigint, p_me integer)
RETURNS TABLE (
    id bigint, author_id integer, event_id bigint, after_users integer[], after_ids bigint[]
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_version integer;
BEGIN
    PERFORM pg_advisory_xact_lock(p.author_id) FROM post p WHERE p.id = p_id;
    DELETE FROM post p
    WHERE p.id = p_id
      AND (
        p.author_id = p_me
        OR EXISTS (SELECT FROM "user" u WHERE u.id = p_me AND u.is_superuser AND NOT u.disabled)
      )
    RETURNING p.id, p.author_id, p.version + 1 INTO id, author_id, v_version;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO outbox (kind, user_id, subject_id, version)
    VALUES ('post.deleted', author_id, id, v_version)
    RETURNING outbox.id INTO event_id;
    SELECT b.after_users, b.after_ids INTO after_users, after_ids
    FROM outbox_before_post(author_id, event_id) b;
    RETURN NEXT;
END
$$;
