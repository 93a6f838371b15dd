-- The copies of the migration before take the place of what there was, in one step, and what knows
-- them can begin to. The tables of messages and of the outbox have names of their own, because
-- under the old ones whoever is of a release before this one is refused: it would look for pairs,
-- and publish to users that it reads from ids.

-- What statements of releases before this one find under the old names: the same columns, and that
-- the database cannot be used now. A view without a table is read before any other of a join.
DROP FUNCTION IF EXISTS dialogs_refused;

CREATE FUNCTION dialogs_refused() RETURNS BIGINT DETERMINISTIC NO SQL
BEGIN
    SIGNAL SQLSTATE '70100' SET MYSQL_ERRNO = 1317,
        MESSAGE_TEXT = 'dialogs have other ids now: this process is of a release before that';
    RETURN 0;
END;

CREATE OR REPLACE VIEW dialogmessage_refused AS
SELECT dialogs_refused() AS dialog_id, dialogs_refused() AS id, dialogs_refused() AS from_user_id,
       CAST(dialogs_refused() AS CHAR) AS content, CAST(dialogs_refused() AS CHAR) AS client_id,
       CAST(dialogs_refused() AS DATETIME) AS created_at;

CREATE OR REPLACE VIEW dialogoutbox_refused AS
SELECT dialogs_refused() AS dialog_id, dialogs_refused() AS id,
       CAST(dialogs_refused() AS CHAR) AS kind, dialogs_refused() AS user_id,
       dialogs_refused() AS message_id, CAST(dialogs_refused() AS DATETIME) AS created_at;

-- The triggers of the migration before refuse until the tables are changed, these from then on.
DROP PROCEDURE IF EXISTS dialog_send;

CREATE PROCEDURE dialog_send(
    p_dialog_id BIGINT, p_from_id INT, p_content VARCHAR(4096), p_client_id VARBINARY(256),
    p_create BOOLEAN
)
BEGIN
    -- Not by the function: whoever DOes a function is only warned of its error.
    SIGNAL SQLSTATE '70100' SET MYSQL_ERRNO = 1317,
        MESSAGE_TEXT = 'dialogs have other ids now: this process is of a release before that';
END;

DROP PROCEDURE IF EXISTS dialog_read;

CREATE PROCEDURE dialog_read(p_dialog_id BIGINT, p_me INT, p_up_to BIGINT)
BEGIN
    SIGNAL SQLSTATE '70100' SET MYSQL_ERRNO = 1317,
        MESSAGE_TEXT = 'dialogs have other ids now: this process is of a release before that';
END;

-- A procedure, so that it can be run again after it did this and before that was written down.
DROP PROCEDURE IF EXISTS dialogs_swap;

CREATE PROCEDURE dialogs_swap()
BEGIN
    IF EXISTS (
        SELECT 1 FROM information_schema.tables AS t
        WHERE t.table_schema = DATABASE() AND t.table_name = 'dialog_mixed'
    ) THEN
        IF (SELECT COUNT(*) FROM dialog_mixed) <> (SELECT COUNT(*) FROM dialog)
            OR (SELECT COUNT(*) FROM message) <> (SELECT COUNT(*) FROM dialogmessage)
        THEN
            SIGNAL SQLSTATE '45000'
                SET MESSAGE_TEXT = 'the copies of the dialogs have not as many rows as there were';
        END IF;
        RENAME TABLE dialog TO dialog_of_pairs, dialog_mixed TO dialog,
            dialogmessage TO dialogmessage_of_pairs, dialogmessage_refused TO dialogmessage,
            dialogoutbox TO dialogoutbox_of_pairs, dialogoutbox_refused TO dialogoutbox;
    END IF;
END;

CALL dialogs_swap();

DROP PROCEDURE IF EXISTS dialogs_swap;

-- Left by a swap that was done twice.
DROP VIEW IF EXISTS dialogmessage_refused, dialogoutbox_refused;

DROP TABLE IF EXISTS dialog_of_pairs, dialogmessage_of_pairs, dialogoutbox_of_pairs;


-- A page of a dialog is kept under what its row says, which the service changes with every message
-- and every mark. A message that is changed or deleted by a statement moves it, too: by a
-- microsecond, so that no two are alike. (TRUNCATE, which no trigger sees, is not noticed.)
DROP TRIGGER IF EXISTS message_updated;

CREATE TRIGGER message_updated AFTER UPDATE ON message FOR EACH ROW
BEGIN
    UPDATE dialog AS d SET d.last_message_at = d.last_message_at + INTERVAL 1 MICROSECOND
    WHERE d.dialog_id IN (OLD.dialog_id, NEW.dialog_id);
END;

DROP TRIGGER IF EXISTS message_deleted;

CREATE TRIGGER message_deleted AFTER DELETE ON message FOR EACH ROW
BEGIN
    UPDATE dialog AS d SET d.last_message_at = d.last_message_at + INTERVAL 1 MICROSECOND
    WHERE d.dialog_id = OLD.dialog_id;
END;


-- POST /dialogs/{user_id}/messages. outcome: sent, repeated (this client_id had
-- been sent before; the first message is returned), absent (no such dialog yet:
-- call again with p_create once the recipient is known to exist).
-- previous_id: the dialog's event just before this one, if it still waits to be
-- published. Whoever publishes this one then lets that one go first.
DROP PROCEDURE IF EXISTS message_send;

CREATE PROCEDURE message_send(
    p_dialog_id BIGINT, p_from_id INT, p_to_id INT, p_content VARCHAR(4096),
    p_client_id VARBINARY(256), p_create BOOLEAN
)
BEGIN
    DECLARE v_to_high INT DEFAULT p_from_id < p_to_id;
    DECLARE v_outcome VARCHAR(16) DEFAULT 'absent';
    DECLARE v_id BIGINT;
    DECLARE v_at DATETIME(6);
    DECLARE v_event_id BIGINT;
    DECLARE v_previous_id BIGINT;
    DECLARE v_recipient_read BIGINT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    IF p_create THEN
        -- An update of nothing, because a mere IGNORE would share the lock.
        INSERT INTO dialog (dialog_id, low_id, high_id)
        VALUES (p_dialog_id, LEAST(p_from_id, p_to_id), GREATEST(p_from_id, p_to_id))
        ON DUPLICATE KEY UPDATE dialog_id = dialog_id;
    END IF;
    -- Only under the lock: two of the same client_id at once would both find none.
    SELECT d.last_message_id + 1, d.last_event_id + 1, GREATEST(d.last_message_at, SYSDATE(6)),
           IF(v_to_high, d.high_read, d.low_read)
    INTO v_id, v_event_id, v_at, v_recipient_read
    FROM dialog AS d WHERE d.dialog_id = p_dialog_id FOR UPDATE;
    IF v_id IS NOT NULL THEN
        SET v_outcome = 'sent';
        IF p_client_id IS NOT NULL THEN
            SELECT 'repeated', m.id, NULL INTO v_outcome, v_id, v_event_id
            FROM message AS m
            WHERE m.dialog_id = p_dialog_id AND m.from_user_id = p_from_id
              AND m.client_id = p_client_id;
        END IF;
    END IF;
    IF v_outcome = 'sent' THEN
        UPDATE dialog AS d
        SET d.last_message_id = v_id,
            d.last_event_id = v_event_id,
            d.last_message_at = v_at,
            d.high_unread = d.high_unread + v_to_high,
            d.low_unread = d.low_unread + 1 - v_to_high
        WHERE d.dialog_id = p_dialog_id;
        INSERT INTO message (dialog_id, id, from_user_id, content, client_id, created_at)
        VALUES (p_dialog_id, v_id, p_from_id, p_content, p_client_id, v_at);
        INSERT INTO messageoutbox (dialog_id, id, kind, user_id, message_id, created_at)
        VALUES (p_dialog_id, v_event_id, 'message.created', p_from_id, v_id, SYSDATE(6));
        SELECT o.id INTO v_previous_id FROM messageoutbox AS o
        WHERE o.dialog_id = p_dialog_id AND o.id = v_event_id - 1;
    END IF;
    -- One row, that of the message if there is one.
    SELECT v_outcome AS outcome, m.id, m.from_user_id, m.content,
           CONVERT(m.client_id USING utf8mb4) AS client_id, m.created_at,
           m.id <= v_recipient_read AS `read`, v_event_id AS event_id, v_previous_id AS previous_id
    FROM (SELECT 1 AS one) AS one
    LEFT JOIN message AS m ON m.dialog_id = p_dialog_id AND m.id = v_id;
    COMMIT;
END;


-- POST /dialogs/{user_id}/read. The mark only moves forward and never past the
-- newest message. event_id is null when nothing changed.
DROP PROCEDURE IF EXISTS message_read;

CREATE PROCEDURE message_read(p_dialog_id BIGINT, p_me INT, p_up_to BIGINT)
BEGIN
    DECLARE v_low BOOLEAN;
    DECLARE v_mark BIGINT DEFAULT 0;
    DECLARE v_up_to BIGINT DEFAULT 0;
    DECLARE v_unread INT;
    DECLARE v_next_event_id BIGINT;
    DECLARE v_event_id BIGINT;
    DECLARE v_previous_id BIGINT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT p_me = d.low_id, LEAST(p_up_to, d.last_message_id),
           IF(p_me = d.low_id, d.low_read, d.high_read), d.last_event_id + 1
    INTO v_low, v_up_to, v_mark, v_next_event_id
    FROM dialog AS d WHERE d.dialog_id = p_dialog_id FOR UPDATE;
    IF v_up_to > v_mark THEN
        -- Of the messages after the new mark only the other's are unread to me.
        -- Mostly there are none: people read to the end.
        SELECT COUNT(*) INTO v_unread FROM message AS m
        WHERE m.dialog_id = p_dialog_id AND m.id > v_up_to AND m.from_user_id <> p_me;
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
