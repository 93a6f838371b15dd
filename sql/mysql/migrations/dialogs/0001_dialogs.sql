-- Dialogs. dialog_id is the pair of users, low << 32 | high: derived, never
-- looked up. Every table and every statement carries it, as in PostgreSQL.
--
-- Every statement may be run again, and compared texts are VARBINARY: see the
-- first migration of the main database.

ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS dialog (
    dialog_id       BIGINT      NOT NULL,
    low_id          INT         NOT NULL,
    high_id         INT         NOT NULL,
    -- Message ids count 1, 2, 3 … in the dialog. The lock on this row is held
    -- until commit, so the order of ids is the order of commits.
    last_message_id BIGINT      NOT NULL DEFAULT 0,
    last_message_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    last_event_id   BIGINT      NOT NULL DEFAULT 0,
    -- The newest message that each of the two has read, and how many of the
    -- other's messages follow it.
    low_read        BIGINT      NOT NULL DEFAULT 0,
    high_read       BIGINT      NOT NULL DEFAULT 0,
    low_unread      INT         NOT NULL DEFAULT 0,
    high_unread     INT         NOT NULL DEFAULT 0,
    PRIMARY KEY (dialog_id),
    KEY dialog_low (low_id, last_message_at, dialog_id),
    KEY dialog_high (high_id, last_message_at, dialog_id),
    CHECK (low_id < high_id),
    CHECK (low_unread >= 0 AND high_unread >= 0)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS dialogmessage (
    dialog_id    BIGINT        NOT NULL,
    id           BIGINT        NOT NULL,
    from_user_id INT           NOT NULL,
    content      VARCHAR(4096) NOT NULL,
    client_id    VARBINARY(256),
    created_at   DATETIME(6)   NOT NULL,
    PRIMARY KEY (dialog_id, id),
    UNIQUE KEY dialogmessage_client (dialog_id, from_user_id, client_id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS dialogoutbox (
    dialog_id  BIGINT      NOT NULL,
    id         BIGINT      NOT NULL, -- dialog.last_event_id when it happened
    kind       VARCHAR(32) NOT NULL,
    user_id    INT         NOT NULL, -- who wrote, or who read
    message_id BIGINT      NOT NULL, -- the message, or the newest one read
    created_at DATETIME(6) NOT NULL,
    PRIMARY KEY (dialog_id, id)
) ENGINE = InnoDB;


-- POST /dialogs/{user_id}/messages. outcome: sent, repeated (this client_id had
-- been sent before; the first message is returned), absent (no such dialog yet:
-- call again with p_create once the recipient is known to exist).
-- previous_id: the dialog's event just before this one, if it still waits to be
-- published. Whoever publishes this one then lets that one go first.
DROP PROCEDURE IF EXISTS dialog_send;

CREATE PROCEDURE dialog_send(
    p_dialog_id BIGINT, p_from_id INT, p_content VARCHAR(4096), p_client_id VARBINARY(256),
    p_create BOOLEAN
)
BEGIN
    DECLARE v_low INT DEFAULT p_dialog_id >> 32;
    DECLARE v_to_high INT DEFAULT p_from_id = v_low;
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
        VALUES (p_dialog_id, v_low, p_dialog_id & 4294967295)
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
            FROM dialogmessage AS m
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
        INSERT INTO dialogmessage (dialog_id, id, from_user_id, content, client_id, created_at)
        VALUES (p_dialog_id, v_id, p_from_id, p_content, p_client_id, v_at);
        INSERT INTO dialogoutbox (dialog_id, id, kind, user_id, message_id, created_at)
        VALUES (p_dialog_id, v_event_id, 'message.created', p_from_id, v_id, SYSDATE(6));
        SELECT o.id INTO v_previous_id FROM dialogoutbox AS o
        WHERE o.dialog_id = p_dialog_id AND o.id = v_event_id - 1;
    END IF;
    -- One row, that of the message if there is one.
    SELECT v_outcome AS outcome, m.id, m.from_user_id, m.content,
           CONVERT(m.client_id USING utf8mb4) AS client_id, m.created_at,
           m.id <= v_recipient_read AS `read`, v_event_id AS event_id, v_previous_id AS previous_id
    FROM (SELECT 1 AS one) AS one
    LEFT JOIN dialogmessage AS m ON m.dialog_id = p_dialog_id AND m.id = v_id;
    COMMIT;
END;


-- POST /dialogs/{user_id}/read. The mark only moves forward and never past the
-- newest message. event_id is null when nothing changed.
DROP PROCEDURE IF EXISTS dialog_read;

CREATE PROCEDURE dialog_read(p_dialog_id BIGINT, p_me INT, p_up_to BIGINT)
BEGIN
    DECLARE v_low BOOLEAN DEFAULT p_me = p_dialog_id >> 32;
    DECLARE v_mark BIGINT DEFAULT 0;
    DECLARE v_up_to BIGINT DEFAULT 0;
    DECLARE v_unread INT;
    DECLARE v_next_event_id BIGINT;
    DECLARE v_event_id BIGINT;
    DECLARE v_previous_id BIGINT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT LEAST(p_up_to, d.last_message_id), IF(v_low, d.low_read, d.high_read),
           d.last_event_id + 1
    INTO v_up_to, v_mark, v_next_event_id
    FROM dialog AS d WHERE d.dialog_id = p_dialog_id FOR UPDATE;
    IF v_up_to > v_mark THEN
        -- Of the messages after the new mark only the other's are unread to me.
        -- Mostly there are none: people read to the end.
        SELECT COUNT(*) INTO v_unread FROM dialogmessage AS m
        WHERE m.dialog_id = p_dialog_id AND m.id > v_up_to AND m.from_user_id <> p_me;
        SET v_mark = v_up_to, v_event_id = v_next_event_id;
        UPDATE dialog AS d
        SET d.low_read = IF(v_low, v_up_to, d.low_read),
            d.high_read = IF(v_low, d.high_read, v_up_to),
            d.low_unread = IF(v_low, v_unread, d.low_unread),
            d.high_unread = IF(v_low, d.high_unread, v_unread),
            d.last_event_id = v_event_id
        WHERE d.dialog_id = p_dialog_id;
        INSERT INTO dialogoutbox (dialog_id, id, kind, user_id, message_id, created_at)
        VALUES (p_dialog_id, v_event_id, 'message.read', p_me, v_up_to, SYSDATE(6));
        SELECT o.id INTO v_previous_id FROM dialogoutbox AS o
        WHERE o.dialog_id = p_dialog_id AND o.id = v_event_id - 1;
    END IF;
    COMMIT;
    SELECT v_mark AS up_to, v_event_id AS event_id, v_previous_id AS previous_id;
END;
