-- Concurrent messages to different dialogs share one call: one round trip, one transaction, one flush.

-- POST /dialogs/{user_id}/messages, many of them, each of another dialog: one row for each that was
-- sent or repeated, as message_send has them, in any order. There is none for a dialog that is not
-- there yet, nor for one that somebody else has locked: that message is for message_send, so that
-- no batch waits for a dialog, and no two for each other.
-- Each parameter is a list in JSON; the n-th of each is of the n-th message.
DROP PROCEDURE IF EXISTS message_send_many;

CREATE PROCEDURE message_send_many(
    p_dialog_ids LONGTEXT CHARACTER SET utf8mb4, p_from_ids LONGTEXT CHARACTER SET utf8mb4,
    p_contents LONGTEXT CHARACTER SET utf8mb4, p_client_ids LONGTEXT CHARACTER SET utf8mb4
)
BEGIN
    DECLARE v_left INT DEFAULT JSON_LENGTH(p_dialog_ids);
    DECLARE v_place VARCHAR(16);
    DECLARE v_dialog_id BIGINT;
    DECLARE v_from_id INT;
    DECLARE v_client_id VARBINARY(256);
    DECLARE v_outcome VARCHAR(16);
    DECLARE v_id BIGINT;
    DECLARE v_at DATETIME(6);
    DECLARE v_to_high BOOLEAN;
    DECLARE v_event_id BIGINT;
    DECLARE v_previous_id BIGINT;
    DECLARE v_recipient_read BIGINT;
    DECLARE v_written LONGTEXT CHARACTER SET utf8mb4 DEFAULT '[]';
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    WHILE v_left > 0 DO
        SET v_left = v_left - 1;
        SET v_place = CONCAT('$[', v_left, ']');
        SET v_dialog_id = CAST(JSON_EXTRACT(p_dialog_ids, v_place) AS SIGNED);
        SET v_from_id = CAST(JSON_EXTRACT(p_from_ids, v_place) AS SIGNED);
        SET v_client_id = IF(
            JSON_TYPE(JSON_EXTRACT(p_client_ids, v_place)) = 'NULL',
            NULL,
            JSON_UNQUOTE(JSON_EXTRACT(p_client_ids, v_place))
        );
        -- Where nothing is found, a variable stays what it was.
        SET v_id = NULL, v_previous_id = NULL;
        SELECT d.last_message_id + 1, d.last_event_id + 1,
               GREATEST(d.last_message_at, SYSDATE(6)), v_from_id = d.low_id,
               IF(v_from_id = d.low_id, d.high_read, d.low_read)
        INTO v_id, v_event_id, v_at, v_to_high, v_recipient_read
        FROM dialog AS d WHERE d.dialog_id = v_dialog_id FOR UPDATE SKIP LOCKED;
        IF v_id IS NOT NULL THEN
            SET v_outcome = 'sent';
            IF v_client_id IS NOT NULL THEN
                SELECT 'repeated', m.id, NULL INTO v_outcome, v_id, v_event_id
                FROM message AS m
                WHERE m.dialog_id = v_dialog_id AND m.from_user_id = v_from_id
                  AND m.client_id = v_client_id;
            END IF;
            IF v_outcome = 'sent' THEN
                UPDATE dialog AS d
                SET d.last_message_id = v_id,
                    d.last_event_id = v_event_id,
                    d.last_message_at = v_at,
                    d.high_unread = d.high_unread + v_to_high,
                    d.low_unread = d.low_unread + 1 - v_to_high
                WHERE d.dialog_id = v_dialog_id;
                INSERT INTO message (dialog_id, id, from_user_id, content, client_id, created_at)
                VALUES (v_dialog_id, v_id, v_from_id,
                        JSON_UNQUOTE(JSON_EXTRACT(p_contents, v_place)), v_client_id, v_at);
                INSERT INTO messageoutbox (dialog_id, id, kind, user_id, message_id, created_at)
                VALUES (v_dialog_id, v_event_id, 'message.created', v_from_id, v_id, SYSDATE(6));
                SELECT o.id INTO v_previous_id FROM messageoutbox AS o
                WHERE o.dialog_id = v_dialog_id AND o.id = v_event_id - 1;
            END IF;
            SET v_written = JSON_ARRAY_APPEND(v_written, '$', JSON_ARRAY(
                v_dialog_id, v_outcome, v_id, v_event_id, v_previous_id, v_recipient_read
            ));
        END IF;
    END WHILE;
    SELECT w.dialog_id, w.outcome, m.id, m.from_user_id, m.content,
           CONVERT(m.client_id USING utf8mb4) AS client_id, m.created_at,
           m.id <= w.recipient_read AS `read`, w.event_id, w.previous_id
    FROM JSON_TABLE(v_written, '$[*]' COLUMNS (
        dialog_id BIGINT PATH '$[0]', outcome VARCHAR(16) PATH '$[1]', id BIGINT PATH '$[2]',
        event_id BIGINT PATH '$[3]', previous_id BIGINT PATH '$[4]',
        recipient_read BIGINT PATH '$[5]'
    )) AS w
    STRAIGHT_JOIN message AS m ON m.dialog_id = w.dialog_id AND m.id = w.id;
    COMMIT;
END;
