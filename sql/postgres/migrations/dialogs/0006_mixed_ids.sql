-- dialog_id was the pair of users, low << 32 | high. A cluster finds a row's shard by a hash of it
-- for which the halves are joined by xor, so that the dialogs of neighbours (a, a + 1) nearly all
-- lay on one node. From here on it is the pair with its bits mixed: still derived, still one for
-- each pair, and as good as random. hlfast/dialogs/ids.py makes it; no statement takes it apart.
--
-- All rows are copied. The tables of messages and of the outbox get names of their own, because
-- under the old ones whoever is of a release before this one is refused: it would look for pairs,
-- and publish to users that it reads from ids.

-- Nothing is written meanwhile (see the migration before), but by people and by deletions of what
-- was published. Everything can be read, until the tables change places at the end.
LOCK TABLE dialog, dialogoutbox, dialogmessage IN EXCLUSIVE MODE;

-- The id of the dialog of two users, as hlfast/dialogs/ids.py has it: below 2^62.
CREATE FUNCTION dialog_id_of(p_one integer, p_other integer) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    v_id bigint := least(p_one, p_other)::bigint << 31 | greatest(p_one, p_other);
BEGIN
    -- numeric, as a product has up to 124 bits.
    v_id := ((v_id # (v_id >> 31))::numeric * 4564476756301768121 % 4611686018427387904)::bigint;
    v_id := ((v_id # (v_id >> 31))::numeric * 1499779743744070123 % 4611686018427387904)::bigint;
    RETURN v_id # (v_id >> 31);
END
$$;

CREATE TABLE dialog_mixed (
    dialog_id       bigint      NOT NULL,
    low_id          integer     NOT NULL,
    high_id         integer     NOT NULL,
    -- Message ids count 1, 2, 3 … in the dialog. The lock on this row is held
    -- until commit, so the order of ids is the order of commits.
    last_message_id bigint      NOT NULL DEFAULT 0,
    last_message_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_event_id   bigint      NOT NULL DEFAULT 0,
    -- The newest message that each of the two has read, and how many of the
    -- other's messages follow it.
    low_read        bigint      NOT NULL DEFAULT 0,
    high_read       bigint      NOT NULL DEFAULT 0,
    low_unread      integer     NOT NULL DEFAULT 0,
    high_unread     integer     NOT NULL DEFAULT 0,
    CHECK (low_id < high_id),
    CHECK (low_unread >= 0 AND high_unread >= 0)
) WITH (fillfactor = 70);

CREATE TABLE message (
    dialog_id    bigint      NOT NULL,
    id           bigint      NOT NULL,
    from_user_id integer     NOT NULL,
    content      text        NOT NULL,
    client_id    text,
    created_at   timestamptz NOT NULL
);

CREATE TABLE messageoutbox (
    dialog_id  bigint      NOT NULL,
    id         bigint      NOT NULL, -- dialog.last_event_id when it happened
    kind       text        NOT NULL,
    user_id    integer     NOT NULL, -- who wrote, or who read
    message_id bigint      NOT NULL, -- the message, or the newest one read
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- On a cluster the new tables are spread as the old ones were.
DO $$
DECLARE
    v_shards integer;
BEGIN
    IF to_regclass('pg_dist_partition') IS NULL THEN
        RETURN;
    END IF;
    -- Tables and functions in one transaction need one connection to each node.
    SET LOCAL citus.multi_shard_modify_mode TO sequential;
    EXECUTE 'SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = ''dialog''::regclass'
    INTO v_shards;
    IF v_shards > 0 THEN
        EXECUTE 'SELECT create_distributed_table(''dialog_mixed'', ''dialog_id'', '
                'colocate_with => ''none'', shard_count => $1)' USING v_shards;
        EXECUTE 'SELECT create_distributed_table(t, ''dialog_id'', '
                'colocate_with => ''dialog_mixed'') FROM unnest(ARRAY[''message'', ''messageoutbox'']::regclass[]) AS t';
    END IF;
END
$$;

INSERT INTO dialog_mixed (
    dialog_id, low_id, high_id, last_message_id, last_message_at, last_event_id, low_read,
    high_read, low_unread, high_unread
)
SELECT dialog_id_of(low_id, high_id), low_id, high_id, last_message_id, last_message_at,
       last_event_id, low_read, high_read, low_unread, high_unread
FROM dialog;

INSERT INTO message (dialog_id, id, from_user_id, content, client_id, created_at)
SELECT dialog_id_of((dialog_id >> 32)::integer, (dialog_id & 2147483647)::integer), id,
       from_user_id, content, client_id, created_at
FROM dialogmessage;

INSERT INTO messageoutbox (dialog_id, id, kind, user_id, message_id, created_at)
SELECT dialog_id_of((dialog_id >> 32)::integer, (dialog_id & 2147483647)::integer), id, kind,
       user_id, message_id, created_at
FROM dialogoutbox;

-- In a block, where each statement has a text of its own: Citus hands that on. Keys are made from full
-- tables, which is faster than to keep them up row by row.
DO $$
BEGIN
    ALTER TABLE dialog_mixed ADD CONSTRAINT dialog_key PRIMARY KEY (dialog_id);
    CREATE INDEX dialog_by_low ON dialog_mixed (low_id, last_message_at, dialog_id);
    CREATE INDEX dialog_by_high ON dialog_mixed (high_id, last_message_at, dialog_id);
    ALTER TABLE message ADD PRIMARY KEY (dialog_id, id);
    CREATE UNIQUE INDEX message_client ON message (dialog_id, from_user_id, client_id)
    WHERE client_id IS NOT NULL;
    ALTER TABLE messageoutbox ADD PRIMARY KEY (dialog_id, id);

    IF (SELECT count(*) FROM dialog_mixed) <> (SELECT count(*) FROM dialog)
    OR (SELECT count(*) FROM message) <> (SELECT count(*) FROM dialogmessage)
    OR (SELECT count(*) FROM messageoutbox) <> (SELECT count(*) FROM dialogoutbox) THEN
        RAISE EXCEPTION 'the copies have not as many rows as there were';
    END IF;

    -- In the order in which statements take them, so that none waits for this one and is waited for.
    LOCK TABLE dialog, dialogoutbox, dialogmessage IN ACCESS EXCLUSIVE MODE;
    DROP TABLE dialogoutbox;
    DROP TABLE dialogmessage;
    DROP TABLE dialog;
    ALTER TABLE dialog_mixed RENAME TO dialog;
    -- Of an empty table a planner that knows it reads all, for as long as nobody tells it better.
    IF (SELECT count(*) FROM dialog) > 0 THEN
        ANALYZE dialog;
        ANALYZE message;
    END IF;
END
$$;

DROP FUNCTION dialogmessage_triggers(boolean);
DROP FUNCTION dialogmessages_changed();
DROP FUNCTION dialogmessages_moved();
DROP FUNCTION dialogmessages_truncated();


-- What statements of releases before this one find under the old names: the same columns, and that
-- the database cannot be used now. A plan with an immutable function is made with its result, so
-- that no order of a join comes around it. On a cluster they are the coordinator's alone: on tables
-- that every node knows Citus wants no triggers. (Elsewhere this is a word without a meaning.)
SELECT set_config('citus.enable_ddl_propagation', 'off', true);

CREATE VIEW dialogmessage AS
SELECT dialogs_refused() AS dialog_id, dialogs_refused() AS id,
       dialogs_refused()::integer AS from_user_id, dialogs_refused()::text AS content,
       dialogs_refused()::text AS client_id, dialogs_refused()::text::timestamptz AS created_at;

CREATE VIEW dialogoutbox AS
SELECT dialogs_refused() AS dialog_id, dialogs_refused() AS id, dialogs_refused()::text AS kind,
       dialogs_refused()::integer AS user_id, dialogs_refused() AS message_id,
       dialogs_refused()::text::timestamptz AS created_at;

-- Without it a deletion is refused for being one, which is a mistake and no 503.
CREATE FUNCTION dialogoutbox_refused() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM dialogs_refused();
END
$$;

CREATE TRIGGER dialogoutbox_refused INSTEAD OF DELETE ON dialogoutbox
FOR EACH ROW EXECUTE FUNCTION dialogoutbox_refused();

SELECT set_config('citus.enable_ddl_propagation', 'on', true);


-- A page of a dialog is kept under what its row says, which the service changes with every message
-- and every mark. A message that is changed or deleted by a statement moves it, too: by a
-- microsecond, so that no two are alike.
CREATE FUNCTION messages_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dialog AS d SET last_message_at = d.last_message_at + interval '1 microsecond'
    WHERE d.dialog_id IN (SELECT b.dialog_id FROM before AS b);
    RETURN NULL;
END
$$;

CREATE FUNCTION messages_moved() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dialog AS d SET last_message_at = d.last_message_at + interval '1 microsecond'
    WHERE d.dialog_id IN (SELECT b.dialog_id FROM before AS b UNION SELECT c.dialog_id FROM changed AS c);
    RETURN NULL;
END
$$;

CREATE FUNCTION messages_truncated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dialog AS d SET last_message_at = d.last_message_at + interval '1 microsecond';
    RETURN NULL;
END
$$;

-- Make them, or take them away: a cluster spreads no table that has any.
CREATE FUNCTION message_triggers(p_wanted boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DROP TRIGGER IF EXISTS message_updated ON message;
    DROP TRIGGER IF EXISTS message_deleted ON message;
    DROP TRIGGER IF EXISTS message_truncated ON message;
    IF NOT p_wanted THEN
        RETURN;
    END IF;
    CREATE TRIGGER message_updated AFTER UPDATE ON message
    REFERENCING OLD TABLE AS before NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION messages_moved();
    CREATE TRIGGER message_deleted AFTER DELETE ON message
    REFERENCING OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION messages_changed();
    CREATE TRIGGER message_truncated AFTER TRUNCATE ON message
    FOR EACH STATEMENT EXECUTE FUNCTION messages_truncated();
END
$$;


-- POST /dialogs/{user_id}/messages. outcome: sent, repeated (this client_id had
-- been sent before; the first message is returned), absent (no such dialog yet:
-- call again with p_create once the recipient is known to exist).
-- previous_id: the dialog's event just before this one, if it still waits to be
-- published. Whoever publishes this one then lets that one go first.
CREATE FUNCTION message_send(
    p_dialog_id bigint, p_from_id integer, p_to_id integer, p_content text, p_client_id text,
    p_create boolean
)
RETURNS TABLE (
    outcome text, id bigint, from_user_id integer, content text, client_id text,
    created_at timestamptz, read boolean, event_id bigint, previous_id bigint
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_to_high integer := (p_from_id < p_to_id)::integer;
    -- A cluster refuses volatile functions in an UPDATE, so the clock is read before it. It may
    -- have been read before others' messages that the lock waited for: greatest() keeps the order.
    v_now timestamptz := clock_timestamp();
BEGIN
    IF p_create THEN
        INSERT INTO dialog (dialog_id, low_id, high_id)
        VALUES (p_dialog_id, least(p_from_id, p_to_id), greatest(p_from_id, p_to_id))
        ON CONFLICT DO NOTHING;
    END IF;
    IF p_client_id IS NOT NULL THEN
        -- Look for the first one only under the lock: two of the same at once
        -- would both find none.
        PERFORM FROM dialog d WHERE d.dialog_id = p_dialog_id FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            -- Nothing was locked, so the dialog may appear, with this client_id,
            -- before the next statement.
            outcome := 'absent';
            RETURN NEXT;
            RETURN;
        END IF;
        RETURN QUERY
        SELECT 'repeated', m.id, m.from_user_id, m.content, m.client_id, m.created_at,
               m.id <= CASE v_to_high WHEN 1 THEN d.high_read ELSE d.low_read END,
               NULL::bigint, NULL::bigint
        FROM message m JOIN dialog d ON d.dialog_id = m.dialog_id
        WHERE m.dialog_id = p_dialog_id AND m.from_user_id = p_from_id AND m.client_id = p_client_id;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    UPDATE dialog d
    SET last_message_id = d.last_message_id + 1,
        last_event_id = d.last_event_id + 1,
        last_message_at = greatest(d.last_message_at, v_now),
        high_unread = d.high_unread + v_to_high,
        low_unread = d.low_unread + 1 - v_to_high
    WHERE d.dialog_id = p_dialog_id
    RETURNING d.last_message_id, d.last_message_at, d.last_event_id
    INTO id, created_at, event_id;
    IF NOT FOUND THEN
        outcome := 'absent';
        RETURN NEXT;
        RETURN;
    END IF;
    INSERT INTO message (dialog_id, id, from_user_id, content, client_id, created_at)
    VALUES (p_dialog_id, id, p_from_id, p_content, p_client_id, created_at);
    INSERT INTO messageoutbox (dialog_id, id, kind, user_id, message_id)
    VALUES (p_dialog_id, event_id, 'message.created', p_from_id, id);
    SELECT o.id INTO previous_id FROM messageoutbox o
    WHERE o.dialog_id = p_dialog_id AND o.id = event_id - 1;
    outcome := 'sent';
    from_user_id := p_from_id;
    content := p_content;
    client_id := p_client_id;
    read := false;
    RETURN NEXT;
END
$$;


-- POST /dialogs/{user_id}/read. The mark only moves forward and never past the
-- newest message. event_id is null when nothing changed.
CREATE FUNCTION message_read(p_dialog_id bigint, p_me integer, p_up_to bigint)
RETURNS TABLE (up_to bigint, event_id bigint, previous_id bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_low    boolean;
    v_last   bigint;
    v_mark   bigint;
    v_unread integer;
BEGIN
    SELECT p_me = d.low_id, d.last_message_id,
           CASE p_me WHEN d.low_id THEN d.low_read ELSE d.high_read END
    INTO v_low, v_last, v_mark
    FROM dialog d WHERE d.dialog_id = p_dialog_id FOR NO KEY UPDATE;
    up_to := least(p_up_to, v_last);
    IF v_last IS NULL OR up_to <= v_mark THEN
        up_to := coalesce(v_mark, 0);
        RETURN NEXT;
        RETURN;
    END IF;
    -- Of the messages after the new mark only the other's are unread to me.
    -- Mostly there are none: people read to the end.
    SELECT count(*) INTO v_unread FROM message m
    WHERE m.dialog_id = p_dialog_id AND m.id > up_to AND m.from_user_id <> p_me;
    UPDATE dialog d
    SET low_read = CASE WHEN v_low THEN up_to ELSE d.low_read END,
        high_read = CASE WHEN v_low THEN d.high_read ELSE up_to END,
        low_unread = CASE WHEN v_low THEN v_unread ELSE d.low_unread END,
        high_unread = CASE WHEN v_low THEN d.high_unread ELSE v_unread END,
        last_event_id = d.last_event_id + 1
    WHERE d.dialog_id = p_dialog_id
    RETURNING d.last_event_id INTO event_id;
    INSERT INTO messageoutbox (dialog_id, id, kind, user_id, message_id)
    VALUES (p_dialog_id, event_id, 'message.read', p_me, up_to);
    SELECT o.id INTO previous_id FROM messageoutbox o
    WHERE o.dialog_id = p_dialog_id AND o.id = event_id - 1;
    RETURN NEXT;
END
$$;


-- Messages that meet are written by one statement: one round trip, one transaction, one flush.

-- POST /dialogs/{user_id}/messages, many of them, each of another dialog: one row for each that was
-- sent or repeated, as message_send has them, in any order. There is none for a dialog that is not
-- there yet, nor for one that somebody else has locked: that message is for message_send, so that
-- no batch waits for a dialog, and no two for each other.
-- The two settings: plans are made once, not for each batch; and an outbox that was empty then, and
-- is not later, is not read from end to end.
CREATE FUNCTION message_send_many(
    p_dialog_ids bigint[], p_from_ids integer[], p_contents text[], p_client_ids text[]
)
RETURNS TABLE (
    dialog_id bigint, outcome text, id bigint, from_user_id integer, content text, client_id text,
    created_at timestamptz, read boolean, event_id bigint, previous_id bigint
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    v_free bigint[];
BEGIN
    -- A snapshot of its own: what follows sees all that was written under these locks before.
    v_free := ARRAY(
        SELECT d.dialog_id FROM dialog d WHERE d.dialog_id = ANY (p_dialog_ids)
        FOR NO KEY UPDATE SKIP LOCKED
    );
    -- The repeated ones.
    FOR dialog_id, outcome, id, from_user_id, content, client_id, created_at, read IN
        SELECT m.dialog_id, 'repeated', m.id, m.from_user_id, m.content, m.client_id, m.created_at,
               m.id <= CASE a.from_id WHEN d.low_id THEN d.high_read ELSE d.low_read END
        FROM unnest(p_dialog_ids, p_from_ids, p_client_ids) AS a(dialog_id, from_id, client_id)
        JOIN message m
        ON m.dialog_id = a.dialog_id AND m.from_user_id = a.from_id AND m.client_id = a.client_id
        JOIN dialog d ON d.dialog_id = m.dialog_id
        WHERE a.dialog_id = ANY (v_free)
    LOOP
        RETURN NEXT;
        v_free := array_remove(v_free, dialog_id);
    END LOOP;
    -- All others are new.
    RETURN QUERY
    WITH counted AS (
        UPDATE dialog d
        SET last_message_id = d.last_message_id + 1,
            last_event_id = d.last_event_id + 1,
            last_message_at = greatest(d.last_message_at, clock_timestamp()),
            high_unread = d.high_unread + (a.from_id = d.low_id)::integer,
            low_unread = d.low_unread + (a.from_id = d.high_id)::integer
        FROM unnest(p_dialog_ids, p_from_ids, p_contents, p_client_ids)
             AS a(dialog_id, from_id, content, client_id)
        WHERE d.dialog_id = a.dialog_id AND a.dialog_id = ANY (v_free)
        RETURNING d.dialog_id, d.last_message_id AS id, a.from_id, a.content, a.client_id,
                  d.last_message_at AS created_at, d.last_event_id AS event_id
    ),
    written AS (
        INSERT INTO message (dialog_id, id, from_user_id, content, client_id, created_at)
        SELECT c.dialog_id, c.id, c.from_id, c.content, c.client_id, c.created_at FROM counted c
    ),
    told AS (
        INSERT INTO messageoutbox (dialog_id, id, kind, user_id, message_id)
        SELECT c.dialog_id, c.event_id, 'message.created', c.from_id, c.id FROM counted c
    )
    SELECT c.dialog_id, 'sent', c.id, c.from_id, c.content, c.client_id, c.created_at, false,
           c.event_id, o.id
    FROM counted c
    LEFT JOIN messageoutbox o ON o.dialog_id = c.dialog_id AND o.id = c.event_id - 1;
END
$$;


DO $$
DECLARE
    v_is_spread boolean := false;
BEGIN
    IF to_regclass('pg_dist_partition') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM pg_dist_partition '
                'WHERE logicalrelid = ''dialog''::regclass)' INTO v_is_spread;
    END IF;
    PERFORM message_triggers(NOT v_is_spread);
    -- A call is handed on, whole, to the node of its dialog; to refuse one none is needed.
    IF v_is_spread THEN
        EXECUTE 'SELECT create_distributed_function(f, ''p_dialog_id'', colocate_with => ''dialog'')'
                ' FROM unnest(ARRAY['
                '''message_send(bigint, integer, integer, text, text, boolean)'', '
                '''message_read(bigint, integer, bigint)'']::regprocedure[]) AS f';
    END IF;
END
$$;
