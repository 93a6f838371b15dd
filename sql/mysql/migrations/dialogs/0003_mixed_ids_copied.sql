-- dialog_id was the pair of users, low << 32 | high. A cluster finds a row's shard by a hash of it
-- for which the halves are joined by xor, so that the dialogs of neighbours (a, a + 1) nearly all
-- lay on one node. From here on it is the pair with its bits mixed: still derived, still one for
-- each pair, and as good as random. hlfast/dialogs/ids.py makes it; no statement takes it apart.
-- No cluster is of MySQL, but a dialog has one id everywhere.
--
-- All rows are copied here; the next migration puts the copies in the place of what there was. If
-- this one stops halfway nothing is lost, and it begins anew. Nothing is written to dialogs from
-- here on, until the next one is through; everything can be read.

-- Who knows the ids of before must not write while rows are copied, nor ever again: it is told that
-- the database cannot be used now, which is a 503 to whoever asked. Every message and every mark
-- changes the dialog's row. To make a trigger waits for the statements that are under way.
DROP TRIGGER IF EXISTS dialog_refuses_rows;

CREATE TRIGGER dialog_refuses_rows BEFORE INSERT ON dialog FOR EACH ROW
BEGIN
    SIGNAL SQLSTATE '70100' SET MYSQL_ERRNO = 1317,
        MESSAGE_TEXT = 'dialogs have other ids now: this process is of a release before that';
END;

DROP TRIGGER IF EXISTS dialog_refuses_changes;

CREATE TRIGGER dialog_refuses_changes BEFORE UPDATE ON dialog FOR EACH ROW
BEGIN
    SIGNAL SQLSTATE '70100' SET MYSQL_ERRNO = 1317,
        MESSAGE_TEXT = 'dialogs have other ids now: this process is of a release before that';
END;

-- The id of the dialog of two users, as hlfast/dialogs/ids.py has it: below 2^62.
DROP FUNCTION IF EXISTS dialog_id_of;

CREATE FUNCTION dialog_id_of(p_one BIGINT, p_other BIGINT) RETURNS BIGINT DETERMINISTIC NO SQL
BEGIN
    -- DECIMAL, as a product has up to 124 bits.
    DECLARE v_id BIGINT DEFAULT (LEAST(p_one, p_other) << 31) | GREATEST(p_one, p_other);
    SET v_id = CAST((v_id ^ (v_id >> 31)) AS DECIMAL(20)) * 4564476756301768121
        % 4611686018427387904;
    SET v_id = CAST((v_id ^ (v_id >> 31)) AS DECIMAL(20)) * 1499779743744070123
        % 4611686018427387904;
    RETURN v_id ^ (v_id >> 31);
END;

DROP TABLE IF EXISTS dialog_mixed, message, messageoutbox;

CREATE TABLE dialog_mixed (
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

CREATE TABLE message (
    dialog_id    BIGINT        NOT NULL,
    id           BIGINT        NOT NULL,
    from_user_id INT           NOT NULL,
    content      VARCHAR(4096) NOT NULL,
    client_id    VARBINARY(256),
    created_at   DATETIME(6)   NOT NULL,
    PRIMARY KEY (dialog_id, id),
    UNIQUE KEY message_client (dialog_id, from_user_id, client_id)
) ENGINE = InnoDB;

CREATE TABLE messageoutbox (
    dialog_id  BIGINT      NOT NULL,
    id         BIGINT      NOT NULL, -- dialog.last_event_id when it happened
    kind       VARCHAR(32) NOT NULL,
    user_id    INT         NOT NULL, -- who wrote, or who read
    message_id BIGINT      NOT NULL, -- the message, or the newest one read
    created_at DATETIME(6) NOT NULL,
    PRIMARY KEY (dialog_id, id)
) ENGINE = InnoDB;

INSERT INTO dialog_mixed (
    dialog_id, low_id, high_id, last_message_id, last_message_at, last_event_id, low_read,
    high_read, low_unread, high_unread
)
SELECT dialog_id_of(d.low_id, d.high_id) AS mixed, d.low_id, d.high_id, d.last_message_id,
       d.last_message_at, d.last_event_id, d.low_read, d.high_read, d.low_unread, d.high_unread
FROM dialog AS d
ORDER BY mixed;

-- In the order of the new key, which is that of the new dialogs: a table in any other order is
-- written many times as slowly.
INSERT INTO message (dialog_id, id, from_user_id, content, client_id, created_at)
SELECT d.dialog_id, m.id, m.from_user_id, m.content, m.client_id, m.created_at
FROM dialog_mixed AS d
STRAIGHT_JOIN dialogmessage AS m ON m.dialog_id = d.low_id * 4294967296 + d.high_id;

-- What somebody has left of a dialog that they deleted.
INSERT INTO message (dialog_id, id, from_user_id, content, client_id, created_at)
SELECT dialog_id_of(m.dialog_id >> 32, m.dialog_id & 2147483647), m.id, m.from_user_id, m.content,
       m.client_id, m.created_at
FROM dialogmessage AS m
LEFT JOIN dialog AS d ON d.dialog_id = m.dialog_id
WHERE d.dialog_id IS NULL;

INSERT INTO messageoutbox (dialog_id, id, kind, user_id, message_id, created_at)
SELECT dialog_id_of(o.dialog_id >> 32, o.dialog_id & 2147483647), o.id, o.kind, o.user_id,
       o.message_id, o.created_at
FROM dialogoutbox AS o;
