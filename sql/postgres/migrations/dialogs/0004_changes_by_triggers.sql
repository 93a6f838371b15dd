-- A page of a dialog is kept under what its row says, which the service changes with every message
-- and every mark. A message that is changed or deleted by a statement moves it, too: by a
-- microsecond, so that no two are alike.
CREATE FUNCTION dialogmessages_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dialog AS d SET last_message_at = d.last_message_at + interval '1 microsecond'
    WHERE d.dialog_id IN (SELECT b.dialog_id FROM before AS b);
    RETURN NULL;
END
$$;

CREATE FUNCTION dialogmessages_moved() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dialog AS d SET last_message_at = d.last_message_at + interval '1 microsecond'
    WHERE d.dialog_id IN (SELECT b.dialog_id FROM before AS b UNION SELECT c.dialog_id FROM changed AS c);
    RETURN NULL;
END
$$;

CREATE FUNCTION dialogmessages_truncated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dialog AS d SET last_message_at = d.last_message_at + interval '1 microsecond';
    RETURN NULL;
END
$$;

-- Make them, or take them away: a cluster spreads no table that has any.
CREATE FUNCTION dialogmessage_triggers(p_wanted boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DROP TRIGGER IF EXISTS dialogmessage_updated ON dialogmessage;
    DROP TRIGGER IF EXISTS dialogmessage_deleted ON dialogmessage;
    DROP TRIGGER IF EXISTS dialogmessage_truncated ON dialogmessage;
    IF NOT p_wanted THEN
        RETURN;
    END IF;
    CREATE TRIGGER dialogmessage_updated AFTER UPDATE ON dialogmessage
    REFERENCING OLD TABLE AS before NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION dialogmessages_moved();
    CREATE TRIGGER dialogmessage_deleted AFTER DELETE ON dialogmessage
    REFERENCING OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION dialogmessages_changed();
    CREATE TRIGGER dialogmessage_truncated AFTER TRUNCATE ON dialogmessage
    FOR EACH STATEMENT EXECUTE FUNCTION dialogmessages_truncated();
END
$$;

DO $$
DECLARE
    v_is_spread boolean := false;
BEGIN
    IF to_regclass('pg_dist_partition') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM pg_dist_partition '
                'WHERE logicalrelid = ''dialogmessage''::regclass)' INTO v_is_spread;
    END IF;
    PERFORM dialogmessage_triggers(NOT v_is_spread);
END
$$;
