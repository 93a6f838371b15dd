-- A dialog whose counters are behind its rows: somebody set them back, or tables were restored while
-- messages were written. The next message would get an id that is taken, again and again. Called
-- after that has happened, so that no send pays for it; whoever calls sends again.
DROP PROCEDURE IF EXISTS dialog_heal;

CREATE PROCEDURE dialog_heal(p_dialog_id BIGINT, p_one INT, p_other INT)
BEGIN
    DECLARE v_low INT DEFAULT LEAST(p_one, p_other);
    DECLARE v_low_read BIGINT;
    DECLARE v_high_read BIGINT;
    DECLARE v_id BIGINT;
    DECLARE v_at DATETIME(6);
    DECLARE v_event_id BIGINT;
    DECLARE v_low_unread INT;
    DECLARE v_high_unread INT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    -- There are messages, so there was a dialog.
    INSERT INTO dialog (dialog_id, low_id, high_id)
    VALUES (p_dialog_id, v_low, GREATEST(p_one, p_other))
    ON DUPLICATE KEY UPDATE dialog_id = dialog_id;
    -- Under the lock nothing is written.
    SELECT d.low_read, d.high_read INTO v_low_read, v_high_read
    FROM dialog AS d WHERE d.dialog_id = p_dialog_id FOR UPDATE;
    SELECT COALESCE(MAX(m.id), 0) INTO v_id FROM message AS m WHERE m.dialog_id = p_dialog_id;
    SELECT MAX(m.created_at) INTO v_at
    FROM message AS m WHERE m.dialog_id = p_dialog_id AND m.id = v_id;
    -- Not of all messages: there may be millions.
    SELECT COUNT(IF(m.from_user_id <> v_low AND m.id > v_low_read, 1, NULL)),
           COUNT(IF(m.from_user_id = v_low AND m.id > v_high_read, 1, NULL))
    INTO v_low_unread, v_high_unread
    FROM message AS m
    WHERE m.dialog_id = p_dialog_id AND m.id > LEAST(v_low_read, v_high_read);
    SELECT COALESCE(MAX(o.id), 0) INTO v_event_id
    FROM messageoutbox AS o WHERE o.dialog_id = p_dialog_id;
    -- An event's row is deleted once it is published, so that nobody knows how many there were:
    -- no more than three for each message, as it was sent once and each of the two may have read
    -- up to it once. An id that is left out is never missed; one that comes again is taken for a
    -- repeat. (Each column is set from what those before it were set to.)
    UPDATE dialog AS d
    SET d.last_event_id = GREATEST(d.last_event_id, v_event_id) + 3 * v_id,
        d.last_message_at = GREATEST(d.last_message_at, COALESCE(v_at, d.last_message_at)),
        d.last_message_id = GREATEST(d.last_message_id, v_id),
        d.low_unread = v_low_unread,
        d.high_unread = v_high_unread
    WHERE d.dialog_id = p_dialog_id
      AND (d.last_message_id < v_id OR d.last_event_id < v_event_id);
    COMMIT;
END;


-- POST /dialogs/{user_id}/read. The mark only moves forward and never past the
-- newest message. event_id is null when nothing changed. A dialog that is behind
-- its messages is refused as a message would be whose id is taken.
DROP PROCEDURE IF EXISTS message_read;

CREATE PROCEDURE message_read(p_dialog_id BIGINT, p_me INT, p_up_to BIGINT)
BEGIN
    DECLARE v_low BOOLEAN;
    DECLARE v_last BIGINT;
    DECLARE v_mark BIGINT DEFAULT 0;
    DECLARE v_up_to BIGINT DEFAULT 0;
    DECLARE v_newest BIGINT;
    DECLARE v_unread INT;
    DECLARE v_next_event_id BIGINT;
    DECLARE v_event_id BIGINT;
    DECLARE v_previous_id BIGINT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT p_me = d.low_id, d.last_message_id, LEAST(p_up_to, d.last_message_id),
           IF(p_me = d.low_id, d.low_read, d.high_read), d.last_event_id + 1
    INTO v_low, v_last, v_up_to, v_mark, v_next_event_id
    FROM dialog AS d WHERE d.dialog_id = p_dialog_id FOR UPDATE;
    IF v_last IS NOT NULL AND p_up_to > v_mark THEN
        -- Of the messages after the new mark only the other's are unread to me.
        -- Mostly there are none: people read to the end.
        SELECT COUNT(IF(m.from_user_id <> p_me, 1, NULL)), MAX(m.id) INTO v_unread, v_newest
        FROM message AS m
        WHERE m.dialog_id = p_dialog_id AND m.id > v_up_to;
        IF v_newest > v_last THEN
            SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 1062,
                MESSAGE_TEXT = 'the dialog is behind its messages';
        END IF;
    END IF;
    IF v_up_to > v_mark THEN
        SET v_mark = v_up_to, v_event_id = v_next_event_id;
        UPDATE dialog AS d
        SET d.low_read = IF(v_low, v_up_to, d.low_read),
            d.high_read = IF(v_low, d.high_read, v_up_to),
            d.low_unread = IF(v_low, v_unread, d.low_unread),
            d.high_unread = IF(v_low, d.high_unread, v_unread),
            d.last_event_id = v_event_id
        WHERE d.dialog_id = p_dialog_id;
        INSERT INTO messageoutbox (dialog_id, id, kind, user_id, message_id, created_at)
        VALUES (p_dialog_id, v_event_id, 'message.read', p_me, v_up_to, SYSDATE(6));
        SELECT o.id INTO v_previous_id FROM messageoutbox AS o
        WHERE o.dialog_id = p_dialog_id AND o.id = v_event_id - 1;
    END IF;
    COMMIT;
    SELECT v_mark AS up_to, v_event_id AS event_id, v_previous_id AS previous_id;
END;
