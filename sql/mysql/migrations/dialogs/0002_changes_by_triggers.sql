-- A page of a dialog is kept under what its row says, which the service changes with every message
-- and every mark. A message that is changed or deleted by a statement moves it, too: by a
-- microsecond, so that no two are alike. (TRUNCATE, which no trigger sees, is not noticed.)

DROP TRIGGER IF EXISTS dialogmessage_updated;

CREATE TRIGGER dialogmessage_updated AFTER UPDATE ON dialogmessage FOR EACH ROW
BEGIN
    UPDATE dialog AS d SET d.last_message_at = d.last_message_at + INTERVAL 1 MICROSECOND
    WHERE d.dialog_id IN (OLD.dialog_id, NEW.dialog_id);
END;

DROP TRIGGER IF EXISTS dialogmessage_deleted;

CREATE TRIGGER dialogmessage_deleted AFTER DELETE ON dialogmessage FOR EACH ROW
BEGIN
    UPDATE dialog AS d SET d.last_message_at = d.last_message_at + INTERVAL 1 MICROSECOND
    WHERE d.dialog_id = OLD.dialog_id;
END;
