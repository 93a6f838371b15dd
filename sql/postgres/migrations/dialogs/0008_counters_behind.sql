-- A dialog whose counters are behind its rows: somebody set them back, or tables were copied, or
-- restored, while messages were written. The next message would get an id that is taken, again and
-- again. Called after that has happened, so that no send pays for it; whoever calls sends again.
CREATE FUNCTION dialog_heal(p_dialog_id bigint, p_one integer, p_other integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_low      integer := least(p_one, p_other);
    v_low_read bigint;
    v_high_read bigint;
    v_id       bigint;
    v_at       timestamptz;
    v_event_id bigint;
    v_low_unread integer;
    v_high_unread integer;
BEGIN
    -- There are messages, so there was a dialog.
    INSERT INTO dialog (dialog_id, low_id, high_id)
    VALUES (p_dialog_id, v_low, greatest(p_one, p_other))
    ON CONFLICT DO NOTHING;
    -- Under the lock nothing is written.
    SELECT d.low_read, d.high_read INTO v_low_read, v_high_read
    FROM dialog AS d WHERE d.dialog_id = p_dialog_id FOR NO KEY UPDATE;
    SELECT m.id, m.created_at INTO v_id, v_at
    FROM message AS m WHERE m.dialog_id = p_dialog_id ORDER BY m.id DESC LIMIT 1;
    v_id := coalesce(v_id, 0);
    -- Not of all messages: there may be millions.
    SELECT count(*) FILTER (WHERE m.from_user_id <> v_low AND m.id > v_low_read),
           count(*) FILTER (WHERE m.from_user_id = v_low AND m.id > v_high_read)
    INTO v_low_unread, v_high_unread
    FROM message AS m
    WHERE m.dialog_id = p_dialog_id AND m.id > least(v_low_read, v_high_read);
    SELECT coalesce(max(o.id), 0) INTO v_event_id
    FROM messageoutbox AS o WHERE o.dialog_id = p_dialog_id;
    -- An event's row is deleted once it is published, so that nobody knows how many there were:
    -- no more than three for each message, as it was sent once and each of the two may have read
    -- up to it once. An id that is left out is never missed; one that comes again is taken for a
    -- repeat.
    UPDATE dialog AS d
    SET last_message_id = greatest(d.last_message_id, v_id),
        last_message_at = greatest(d.last_message_at, v_at),
        last_event_id = greatest(d.last_event_id, v_event_id) + 3 * v_id,
        low_unread = v_low_unread,
        high_unread = v_high_unread
    WHERE d.dialog_id = p_dialog_id
      AND (d.last_message_id < v_id OR d.last_event_id < v_event_id);
END
$$;


-- POST /dialogs/{user_id}/read. The mark only moves forward and never past the
-- newest message. event_id is null when nothing changed. A dialog that is behind
-- its messages is refused as a message would be whose id is taken.
CREATE OR REPLACE FUNCTION message_read(p_dialog_id bigint, p_me integer, p_up_to bigint)
RETURNS TABLE (up_to bigint, event_id bigint, previous_id bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_low    boolean;
    v_last   bigint;
    v_mark   bigint;
    v_newest bigint;
    v_unread integer;
BEGIN
    SELECT p_me = d.low_id, d.last_message_id,
           CASE p_me WHEN d.low_id THEN d.low_read ELSE d.high_read END
    INTO v_low, v_last, v_mark
    FROM dialog d WHERE d.dialog_id = p_dialog_id FOR NO KEY UPDATE;
    up_to := least(p_up_to, v_last);
    IF v_last IS NULL OR p_up_to <= v_mark THEN
        up_to := coalesce(v_mark, 0);
        RETURN NEXT;
        RETURN;
    END IF;
    -- Of the messages after the new mark only the other's are unread to me.
    -- Mostly there are none: people read to the end.
    SELECT count(*) FILTER (WHERE m.from_user_id <> p_me), max(m.id) INTO v_unread, v_newest
    FROM message m
    WHERE m.dialog_id = p_dialog_id AND m.id > up_to;
    IF v_newest > v_last THEN
        RAISE EXCEPTION 'the dialog is behind its messages' USING ERRCODE = 'unique_violation';
    END IF;
    IF up_to <= v_mark THEN
        up_to := v_mark;
        RETURN NEXT;
        RETURN;
    END IF;
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


-- On a cluster a send is a transaction on the node of its dialog, which waits for no lock of the
-- coordinator. What Citus copies there one table after the other, alter_distributed_table or
-- undistribute_table, is of several moments, and what was committed in between would be half there
-- or lost. It makes views of a copied table anew, and this is asked for by the one of
-- dialogs_guarded: within the transaction that copies.
CREATE FUNCTION dialogs_must_be_locked(p_dialog regclass, p_outbox regclass, p_message regclass)
RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_locked integer;
BEGIN
    SELECT count(DISTINCT l.relation) INTO v_locked
    FROM pg_locks AS l
    JOIN pg_database AS b ON b.oid = l.database AND b.datname = current_database()
    WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted
      AND l.mode = 'AccessExclusiveLock' AND l.relation IN (p_dialog, p_outbox, p_message);
    -- Whoever copies one of them has locked that. None: the view alone is made, as by a restore.
    IF v_locked IN (1, 2) THEN
        RAISE EXCEPTION 'messages that are sent meanwhile would be lost: lock all dialogs first'
        USING ERRCODE = 'object_in_use',
              HINT = 'bash build.sh shards count N, or undistribute; at psql: BEGIN; LOCK TABLE '
                     'dialog, messageoutbox, message; then what you typed; COMMIT;';
    END IF;
    RETURN true;
END
$$;

-- Make the view that depends on all three, or take it away: one server needs none.
CREATE FUNCTION dialogs_guarded(p_wanted boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF p_wanted THEN
        CREATE MATERIALIZED VIEW IF NOT EXISTS dialogs_guard AS
        SELECT dialogs_must_be_locked(
            'dialog'::regclass, 'messageoutbox'::regclass, 'message'::regclass
        ) AS is_locked;
    ELSE
        DROP MATERIALIZED VIEW IF EXISTS dialogs_guard;
    END IF;
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
    IF v_is_spread THEN
        PERFORM dialogs_guarded(true);
    END IF;
END
$$;
