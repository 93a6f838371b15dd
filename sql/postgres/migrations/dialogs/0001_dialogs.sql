-- Dialogs. dialog_id is the pair of users, low << 32 | high: derived, never
-- looked up. Every table and every statement carries it, so that a dialog can
-- live whole on one node of a cluster: no identity columns, no foreign keys.

CREATE TABLE dialog (
    dialog_id       bigint      PRIMARY KEY,
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

CREATE INDEX dialog_low ON dialog (low_id, last_message_at, dialog_id);
CREATE INDEX dialog_high ON dialog (high_id, last_message_at, dialog_id);

CREATE TABLE dialogmessage (
    dialog_id    bigint      NOT NULL,
    id           bigint      NOT NULL,
    from_user_id integer     NOT NULL,
    content      text        NOT NULL,
    client_id    text,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (dialog_id, id)
);

CREATE UNIQUE INDEX dialogmessage_client ON dialogmessage (dialog_id, from_user_id, client_id)
WHERE client_id IS NOT NULL;

CREATE TABLE dialogoutbox (
    dialog_id  bigint      NOT NULL,
    id         bigint      NOT NULL, -- dialog.last_event_id when it happened
    kind       text        NOT NULL,
    user_id    integer     NOT NULL, -- who wrote, or who read
    message_id bigint      NOT NULL, -- the message, or the newest one read
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (dialog_id, id)
);


-- POST /dialogs/{user_id}/messages. outcome: sent, repeated (this client_id had
-- been sent before; the first message is returned), absent (no such dialog yet:
-- call again with p_create once the recipient is known to exist).
-- previous_id: the dialog's event just before this one, if it still waits to be
-- published. Whoever publishes this one then lets that one go first.
CREATE FUNCTION dialog_send(
    p_dialog_id bigint, p_from_id integer, p_content text, p_client_id text, p_create boolean
)
RETURNS TABLE (
    outcome text, id bigint, from_user_id integer, content text, client_id text,
    created_at timestamptz, read boolean, event_id bigint, previous_id bigint
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_low integer := (p_dialog_id >> 32)::integer;
    v_to_high integer := (p_from_id = v_low)::integer;
BEGIN
    IF p_create THEN
        INSERT INTO dialog (dialog_id, low_id, high_id)
        VALUES (p_dialog_id, v_low, (p_dialog_id & 4294967295)::integer)
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
        FROM dialogmessage m JOIN dialog d ON d.dialog_id = m.dialog_id
        WHERE m.dialog_id = p_dialog_id AND m.from_user_id = p_from_id AND m.client_id = p_client_id;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    UPDATE dialog d
    SET last_message_id = d.last_message_id + 1,
        last_event_id = d.last_event_id + 1,
        last_message_at = greatest(d.last_message_at, clock_timestamp()),
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
    INSERT INTO dialogmessage (dialog_id, id, from_user_id, content, client_id, created_at)
    VALUES (p_dialog_id, id, p_from_id, p_content, p_client_id, created_at);
    INSERT INTO dialogoutbox (dialog_id, id, kind, user_id, message_id)
    VALUES (p_dialog_id, event_id, 'message.created', p_from_id, id);
    SELECT o.id INTO previous_id FROM dialogoutbox o
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
CREATE FUNCTION dialog_read(p_dialog_id bigint, p_me integer, p_up_to bigint)
RETURNS TABLE (up_to bigint, event_id bigint, previous_id bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_low    boolean := p_me = (p_dialog_id >> 32)::integer;
    v_last   bigint;
    v_mark   bigint;
    v_unread integer;
BEGIN
    SELECT d.last_message_id,
           CASE WHEN v_low THEN d.low_read ELSE d.high_read END
    INTO v_last, v_mark
    FROM dialog d WHERE d.dialog_id = p_dialog_id FOR NO KEY UPDATE;
    up_to := least(p_up_to, v_last);
    IF v_last IS NULL OR up_to <= v_mark THEN
        up_to := coalesce(v_mark, 0);
        RETURN NEXT;
        RETURN;
    END IF;
    -- Of the messages after the new mark only the other's are unread to me.
    -- Mostly there are none: people read to the end.
    SELECT count(*) INTO v_unread FROM dialogmessage m
    WHERE m.dialog_id = p_dialog_id AND m.id > up_to AND m.from_user_id <> p_me;
    UPDATE dialog d
    SET low_read = CASE WHEN v_low THEN up_to ELSE d.low_read END,
        high_read = CASE WHEN v_low THEN d.high_read ELSE up_to END,
        low_unread = CASE WHEN v_low THEN v_unread ELSE d.low_unread END,
        high_unread = CASE WHEN v_low THEN d.high_unread ELSE v_unread END,
        last_event_id = d.last_event_id + 1
    WHERE d.dialog_id = p_dialog_id
    RETURNING d.last_event_id INTO event_id;
    INSERT INTO dialogoutbox (dialog_id, id, kind, user_id, message_id)
    VALUES (p_dialog_id, event_id, 'message.read', p_me, up_to);
    SELECT o.id INTO previous_id FROM dialogoutbox o
    WHERE o.dialog_id = p_dialog_id AND o.id = event_id - 1;
    RETURN NEXT;
END
$$;
