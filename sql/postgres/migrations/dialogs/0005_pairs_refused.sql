-- The next migration copies every dialog under another id. Whoever knows the ids of before must
-- not write meanwhile, nor ever again: what processes of releases before this one send with answers
-- that the database cannot be used now, which is a 503 to whoever asked. They read on until then.
--
-- A migration of its own: committed at once, it lets nobody wait for the next one, which may take
-- long.

-- Immutable, so that a plan is not even made. See the views of the next migration.
CREATE FUNCTION dialogs_refused() RETURNS bigint
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RAISE EXCEPTION 'dialogs have other ids now: this process is of a release before that'
    USING ERRCODE = 'cannot_connect_now', HINT = 'Start it anew, with the present release.';
END
$$;

CREATE OR REPLACE FUNCTION dialog_send(
    p_dialog_id bigint, p_from_id integer, p_content text, p_client_id text, p_create boolean
)
RETURNS TABLE (
    outcome text, id bigint, from_user_id integer, content text, client_id text,
    created_at timestamptz, read boolean, event_id bigint, previous_id bigint
)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM dialogs_refused();
END
$$;

CREATE OR REPLACE FUNCTION dialog_send_many(
    p_dialog_ids bigint[], p_from_ids integer[], p_contents text[], p_client_ids text[]
)
RETURNS TABLE (
    dialog_id bigint, outcome text, id bigint, from_user_id integer, content text, client_id text,
    created_at timestamptz, read boolean, event_id bigint, previous_id bigint
)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM dialogs_refused();
END
$$;

CREATE OR REPLACE FUNCTION dialog_read(p_dialog_id bigint, p_me integer, p_up_to bigint)
RETURNS TABLE (up_to bigint, event_id bigint, previous_id bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM dialogs_refused();
END
$$;
