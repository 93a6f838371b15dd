-- What a cluster knows while one of its nodes is away: a statement that asks every shard fails then
-- as a whole. On a server that is no cluster nobody calls these.

-- Each node but the coordinator, and whether it answers. None on a server that is no cluster.
-- A machine that lost its power does not refuse, it is silent: hence the time. (Not as a clause of
-- the function: where there is no Citus, only a superuser may name its settings there.)
CREATE FUNCTION dialog_nodes() RETURNS TABLE (node text, answers boolean)
LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('pg_dist_node') IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('citus.node_connection_timeout', '1s', true);
    RETURN QUERY EXECUTE $query$
        SELECT format('%s:%s', a.node_name, a.node_port), a.success
        FROM (
            SELECT array_agg(n.nodename::text) AS names, array_agg(n.nodeport) AS ports,
                   array_agg('SELECT 1'::text) AS commands
            FROM pg_dist_node AS n
            WHERE n.noderole = 'primary' AND n.isactive AND n.groupid <> 0
        ) AS one, master_run_on_worker(one.names, one.ports, one.commands, true) AS a
        WHERE one.names IS NOT NULL
        ORDER BY a.node_name, a.node_port
    $query$;
END
$$;

-- One statement to each node that has shards, put together from p_query for each of its shards:
-- %1$s is that of dialog, %2$s of message, %3$s of messageoutbox. The first p_limit rows by
-- p_order; null for a node that does not answer. It fails where none does. Those of p_away are not
-- asked: a silent one would be waited for each time.
CREATE FUNCTION dialogs_of_living_nodes(
    p_away text[], p_query text, p_order text, p_limit integer
)
RETURNS TABLE (node text, answer json)
LANGUAGE plpgsql AS $$
DECLARE
    v_answers integer := 0;
BEGIN
    PERFORM set_config('citus.node_connection_timeout', '1s', true);
    FOR node, answer IN EXECUTE $query$
        WITH shard AS (
            SELECT n.nodename::text AS name, n.nodeport AS port,
                   format($1, shard_name(d.logicalrelid, d.shardid),
                          shard_name(m.logicalrelid, m.shardid),
                          shard_name(o.logicalrelid, o.shardid)) AS part
            FROM pg_dist_shard AS d
            JOIN pg_dist_shard AS m USING (shardminvalue)
            JOIN pg_dist_shard AS o USING (shardminvalue)
            JOIN pg_dist_placement AS p ON p.shardid = d.shardid
            JOIN pg_dist_node AS n ON n.groupid = p.groupid AND n.noderole = 'primary'
            WHERE d.logicalrelid = 'dialog'::regclass
              AND m.logicalrelid = 'message'::regclass
              AND o.logicalrelid = 'messageoutbox'::regclass
        ),
        command AS (
            SELECT name, port,
                   format('SELECT coalesce(json_agg(f), ''[]'') FROM '
                          '(SELECT * FROM (%s) AS e ORDER BY %s LIMIT %s) AS f',
                          string_agg(part, ' UNION ALL '), $2, $3) AS command
            FROM shard GROUP BY name, port
        )
        SELECT format('%s:%s', a.node_name, a.node_port),
               CASE WHEN a.success THEN a.result::json END
        FROM (
            SELECT array_agg(name) AS names, array_agg(port) AS ports,
                   array_agg(command) AS commands
            FROM command
            WHERE format('%s:%s', name, port) <> ALL ($4)
        ) AS one, master_run_on_worker(one.names, one.ports, one.commands, true) AS a
        WHERE one.names IS NOT NULL
        UNION ALL
        SELECT format('%s:%s', name, port), NULL
        FROM command
        WHERE format('%s:%s', name, port) = ANY ($4)
    $query$ USING p_query, p_order, p_limit, p_away
    LOOP
        v_answers := v_answers + (answer IS NOT NULL)::integer;
        RETURN NEXT;
    END LOOP;
    IF v_answers = 0 THEN
        RAISE EXCEPTION 'no node of the dialogs answers' USING ERRCODE = 'connection_failure';
    END IF;
END
$$;

-- The list of my dialogs from what answers: the rows of the statement dialog_list, and one of nulls
-- for each node that does not.
CREATE FUNCTION dialog_list_of_living(
    p_away text[], p_me integer, p_active_at bigint, p_dialog_id bigint, p_limit integer
)
RETURNS TABLE (
    dialog_id bigint, unread integer, last_message_at timestamptz, id bigint, from_user_id integer,
    content text, client_id text, created_at timestamptz, read boolean
)
LANGUAGE plpgsql AS $$
DECLARE
    v_half text := $half$(
        SELECT d.dialog_id, d.%2$s_unread AS unread, d.last_message_at,
               m.id, m.from_user_id, m.content, m.client_id, m.created_at,
               m.id <= CASE m.from_user_id WHEN d.low_id THEN d.high_read ELSE d.low_read END
               AS read
        FROM %%1$s AS d
        JOIN %%2$s AS m ON m.dialog_id = d.dialog_id AND m.id = d.last_message_id
        WHERE d.%2$s_id = %1$s
          AND (d.last_message_at, d.dialog_id)
              < (timestamptz 'epoch' + %3$s * interval '1 microsecond', %4$s)
        ORDER BY d.last_message_at DESC, d.dialog_id DESC
        LIMIT %5$s
    )$half$;
BEGIN
    RETURN QUERY
    WITH node AS MATERIALIZED (
        SELECT n.answer
        FROM dialogs_of_living_nodes(
            p_away,
            format(v_half, p_me, 'low', p_active_at, p_dialog_id, p_limit) || ' UNION ALL '
                || format(v_half, p_me, 'high', p_active_at, p_dialog_id, p_limit),
            'last_message_at DESC, dialog_id DESC', p_limit
        ) AS n
    ),
    first AS (
        SELECT f.*
        FROM node, json_to_recordset(node.answer) AS f (
            dialog_id bigint, unread integer, last_message_at timestamptz, id bigint,
            from_user_id integer, content text, client_id text, created_at timestamptz, read boolean
        )
        ORDER BY f.last_message_at DESC, f.dialog_id DESC
        LIMIT p_limit
    )
    SELECT f.* FROM first AS f
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM node WHERE node.answer IS NULL;
END
$$;

-- What a dead process left in the outboxes that answer: the rows of the statement
-- messageoutbox_left, and one of nulls for each node that does not.
CREATE FUNCTION messageoutbox_left_of_living(
    p_away text[], p_older_than_s double precision, p_limit integer
)
RETURNS TABLE (
    dialog_id bigint, event_id bigint, previous_id bigint, kind text, user_id integer, id bigint,
    up_to bigint, from_user_id integer, content text, client_id text, created_at timestamptz,
    read boolean
)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    WITH node AS MATERIALIZED (
        SELECT n.answer
        FROM dialogs_of_living_nodes(
            p_away,
            format(
                $part$(
                    SELECT o.dialog_id, o.id AS event_id, NULL::bigint AS previous_id, o.kind,
                           o.user_id, o.message_id AS id, o.message_id AS up_to, m.from_user_id,
                           m.content, m.client_id, m.created_at, false AS read
                    FROM %%3$s AS o
                    LEFT JOIN %%2$s AS m ON m.dialog_id = o.dialog_id AND m.id = o.message_id
                    WHERE o.created_at < clock_timestamp() - %L::float8 * interval '1 second'
                    ORDER BY o.dialog_id, o.id
                    LIMIT %s
                )$part$, p_older_than_s, p_limit
            ),
            'dialog_id, event_id', p_limit
        ) AS n
    ),
    first AS (
        SELECT f.*
        FROM node, json_to_recordset(node.answer) AS f (
            dialog_id bigint, event_id bigint, previous_id bigint, kind text, user_id integer,
            id bigint, up_to bigint, from_user_id integer, content text, client_id text,
            created_at timestamptz, read boolean
        )
        ORDER BY f.dialog_id, f.event_id
        LIMIT p_limit
    )
    SELECT f.* FROM first AS f
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM node WHERE node.answer IS NULL;
END
$$;
