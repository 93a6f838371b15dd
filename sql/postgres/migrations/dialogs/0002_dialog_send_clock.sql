-- A cluster refuses volatile functions in an UPDATE, so the clock is read before it. It may
-- have been read before others' messages that the lock waited for: greatest() keeps the order.

-- POST /dialogs/{user_id}/messages. outcome: sent, repeated (this client_id had
-- been sent before; the first message is returned), absent (no such dialog yet:
-- call again with p_create once the recipient is known to exist).
-- previous_id: the dialog's event just before this one, if it still waits to be
-- published. Whoever publishes this one then lets that one go first.
CREATE OR REPLACE FUNCTION dialog_send(
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
    v_now timestamptz := clock_timestamp();
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
