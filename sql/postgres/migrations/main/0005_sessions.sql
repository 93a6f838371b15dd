-- Logins that can be renewed. A refresh token names its session and its number in it, and is good
-- once. What is kept here is no secret: the token that follows another one is made of this row and
-- signed, so every process makes the same one.
CREATE TABLE session (
    id         text        COLLATE "C" PRIMARY KEY,
    user_id    integer     NOT NULL,
    -- The number of the newest token.
    generation integer     NOT NULL,
    -- When the tokens before it were used, in ms since 1970: the last 16, the newest last.
    uses_ms    bigint[]    NOT NULL DEFAULT '{}',
    -- Begun with a token of before there were sessions. It would begin anew with that token, so a
    -- row that has ended stays until the token expires.
    inherited  boolean     NOT NULL DEFAULT false,
    ended      boolean     NOT NULL DEFAULT false,
    -- No token of it is good from then on.
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX session_of_user ON session (user_id, expires_at);
CREATE INDEX session_expiry ON session (expires_at);


-- A new session, good for p_keep_s seconds. A user has p_sessions_max at most: of more, those go
-- that were renewed longest ago. Up to p_expired_max that have expired go, too, whosever they are:
-- more than come, and never many at once. What somebody else is at work on is left alone.
CREATE FUNCTION session_start(
    p_id text, p_user_id integer, p_keep_s double precision,
    p_sessions_max integer, p_expired_max integer
)
RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM session
    WHERE id = ANY(ARRAY(
        SELECT s.id FROM session s
        WHERE s.expires_at < now()
        ORDER BY s.expires_at
        LIMIT p_expired_max
        FOR UPDATE SKIP LOCKED
    ));
    DELETE FROM session
    WHERE id = ANY(ARRAY(
        SELECT s.id FROM session s
        WHERE s.id = ANY(ARRAY(
            SELECT o.id FROM session o
            WHERE o.user_id = p_user_id AND NOT o.inherited
            ORDER BY o.expires_at DESC
            OFFSET p_sessions_max - 1
        ))
        FOR UPDATE SKIP LOCKED
    ));
    INSERT INTO session (id, user_id, generation, expires_at)
    VALUES (p_id, p_user_id, 0, clock_timestamp() + p_keep_s * interval '1 second');
    RETURN p_id;
END
$$;


-- A token is used. outcome: renewed (used_ms is when it was used first: the next token is made of
-- it), revoked (of the user's tokens), over (or never was), reused (and so the session is over).
CREATE FUNCTION session_renew(
    p_id text, p_generation integer, p_user_id integer, p_token_version integer,
    p_inherited boolean, p_grace_s double precision, p_keep_s double precision
)
RETURNS TABLE (outcome text, used_ms bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_session session%ROWTYPE;
    v_now_ms bigint;
BEGIN
    IF NOT EXISTS (
        SELECT FROM "user" u
        WHERE u.id = p_user_id AND u.token_version = p_token_version AND NOT u.disabled
    ) THEN
        RETURN QUERY SELECT 'revoked', NULL::bigint;
        RETURN;
    END IF;
    IF p_inherited THEN
        INSERT INTO session (id, user_id, generation, inherited, expires_at)
        VALUES (
            p_id, p_user_id, 0, true, clock_timestamp() + p_keep_s * interval '1 second'
        )
        ON CONFLICT DO NOTHING;
    END IF;
    SELECT s.* INTO v_session FROM session s WHERE s.id = p_id AND s.user_id = p_user_id FOR UPDATE;
    IF NOT FOUND OR v_session.ended THEN
        RETURN QUERY SELECT 'over', NULL::bigint;
        RETURN;
    END IF;
    v_now_ms := extract(epoch FROM clock_timestamp()) * 1000;
    -- A token of ours with a higher number: a failover has lost the newest state.
    IF p_generation >= v_session.generation THEN
        UPDATE session s
        SET generation = p_generation + 1,
            uses_ms = CASE
                WHEN p_generation > s.generation THEN ARRAY[v_now_ms]
                ELSE (s.uses_ms || v_now_ms)[greatest(1, cardinality(s.uses_ms) - 14):]
            END,
            expires_at = clock_timestamp() + p_keep_s * interval '1 second'
        WHERE s.id = p_id;
        RETURN QUERY SELECT 'renewed', v_now_ms;
        RETURN;
    END IF;
    used_ms := v_session.uses_ms[
        cardinality(v_session.uses_ms) - (v_session.generation - 1 - p_generation)
    ];
    IF v_now_ms - used_ms <= p_grace_s * 1000 THEN
        RETURN QUERY SELECT 'renewed', used_ms;
        RETURN;
    END IF;
    UPDATE session s SET ended = true WHERE s.id = p_id AND s.inherited;
    DELETE FROM session s WHERE s.id = p_id AND NOT s.inherited;
    RETURN QUERY SELECT 'reused', NULL::bigint;
END
$$;


-- Logout. One that was inherited, and may not have begun, stays as ended.
CREATE FUNCTION session_end(
    p_id text, p_user_id integer, p_inherited boolean, p_keep_s double precision
)
RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF p_inherited THEN
        INSERT INTO session (id, user_id, generation, inherited, ended, expires_at)
        VALUES (
            p_id, p_user_id, 0, true, true, clock_timestamp() + p_keep_s * interval '1 second'
        )
        ON CONFLICT (id) DO UPDATE SET ended = true;
    ELSE
        UPDATE session s SET ended = true
        WHERE s.id = p_id AND s.user_id = p_user_id AND s.inherited;
        DELETE FROM session s
        WHERE s.id = p_id AND s.user_id = p_user_id AND NOT s.inherited;
    END IF;
END
$$;


-- The parameters of all password hashes that there may be: each login does the work of every one,
-- so that nobody can tell from its time whose hash is how old, or there at all.
CREATE TABLE passwordparameters (
    parameters text COLLATE "C" PRIMARY KEY -- as a hash begins: $argon2id$v=19$m=19456,t=2,p=1
);

INSERT INTO passwordparameters
SELECT DISTINCT array_to_string((string_to_array(u.password_hash, '$'))[1:4], '$')
FROM "user" u
WHERE u.password_hash LIKE '$argon2%$%$%$%$%';


-- DELETE /posts/{p_id} with a token of a version: what a superuser may do ends with her tokens.
CREATE FUNCTION post_remove(p_id bigint, p_me integer, p_token_version integer)
RETURNS TABLE (
    id bigint, author_id integer, event_id bigint, after_users integer[], after_ids bigint[]
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF EXISTS (
        SELECT FROM post p
        WHERE p.id = p_id
          AND (
            p.author_id = p_me
            OR EXISTS (
                SELECT FROM "user" u
                WHERE u.id = p_me AND u.is_superuser AND NOT u.disabled
                  AND u.token_version = p_token_version
            )
          )
    ) THEN
        RETURN QUERY SELECT r.* FROM post_remove(p_id, p_me) r;
    END IF;
END
$$;
