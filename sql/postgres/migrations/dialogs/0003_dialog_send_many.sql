-- Messages that meet are written by one statement: one round trip, one transaction, one flush.

-- POST /dialogs/{user_id}/messages, many of them, each of another dialog: one row for each that was
-- sent or repeated, as dialog_send has them, in any order. There is none for a dialog that is not
-- there yet, nor for one that somebody else has locked: that message is for dialog_send, so that
-- no batch waits for a dialog, and no two for each other.
-- The two settings: plans are made once, not for each batch; and an outbox that was empty then, and
-- is not later, is not read from end to end.
CREATE FUNCTION dialog_send_many(
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
        JOIN dialogmessage m
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
        INSERT INTO dialogmessage (dialog_id, id, from_user_id, content, client_id, created_at)
        SELECT c.dialog_id, c.id, c.from_id, c.content, c.client_id, c.created_at FROM counted c
    ),
    told AS (
        INSERT INTO dialogoutbox (dialog_id, id, kind, user_id, message_id)
        SELECT c.dialog_id, c.event_id, 'message.created', c.from_id, c.id FROM counted c
    )
    SELECT c.dialog_id, 'sent', c.id, c.from_id, c.content, c.client_id, c.created_at, false,
           c.event_id, o.id
    FROM counted c
    LEFT JOIN dialogoutbox o ON o.dialog_id = c.dialog_id AND o.id = c.event_id - 1;
END
$$;
