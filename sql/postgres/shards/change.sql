-- What `hlfast shards` does to a Citus coordinator, each printed by --dry-run.

-- name: create_extension
CREATE EXTENSION IF NOT EXISTS citus;

-- name: set_coordinator
SELECT citus_set_coordinator_host($1, $2);

-- name: one_connection
-- Tables and functions in one transaction need one connection to each node.
SET LOCAL citus.multi_shard_modify_mode TO sequential;

-- name: lock_dialogs
-- On every node, before anything is read: a send is a transaction on the node of its dialog, and what
-- it committed after its dialog was copied and before its messages were would be half there. In the
-- order in which statements take them, so that none waits for this one and is waited for.
LOCK TABLE dialog, messageoutbox, message IN ACCESS EXCLUSIVE MODE;

-- name: message_triggers
-- By which the response cache sees what was changed by a statement. A distributed table has none.
SELECT message_triggers($1);

-- name: guard
-- Whoever copies the tables by hand has to lock them, too.
SELECT dialogs_guarded($1);

-- name: user_triggers
SELECT user_triggers($1);

-- name: distribute_dialog
SELECT create_distributed_table('dialog', 'dialog_id', colocate_with => 'none', shard_count => $1);

-- name: distribute_beside
SELECT create_distributed_table($1::text::regclass, 'dialog_id', colocate_with => 'dialog');

-- name: forget_local_rows
-- They were copied to the shards.
SELECT truncate_local_data_after_distributing_table($1::text::regclass);

-- name: delegate
SELECT create_distributed_function($1::text::regprocedure, 'p_dialog_id', colocate_with => 'dialog');

-- name: reference_user
SELECT create_reference_table('"user"');

-- name: add_node
SELECT citus_add_node($1, $2);

-- name: activate_node
SELECT citus_activate_node($1, $2);

-- name: take_shards
SELECT citus_set_node_property($1, $2, 'shouldhaveshards', $3);

-- name: remove_node
SELECT citus_remove_node($1, $2);

-- name: rebalance_start
SELECT citus_rebalance_start(shard_transfer_mode => 'auto', drain_only => $1);

-- name: split
-- $2: the last hash of each part but the last one, $3: the node of each part.
SELECT citus_split_shard_by_split_points($1, $2, $3, $4::text::citus.shard_transfer_mode);

-- name: change_count
SELECT alter_distributed_table('dialog', shard_count => $1, cascade_to_colocated => true);

-- name: undistribute
SELECT undistribute_table($1::text::regclass);

-- name: rebalance_stop
SELECT citus_rebalance_stop();

-- name: tell_nobody
-- Workers learn of what follows at the end, all at once: a lost one would be asked, too.
SET LOCAL citus.enable_metadata_sync TO off;

-- name: place_shards
-- $1: shards, $2: the node of each.
UPDATE pg_dist_placement AS p SET groupid = n.groupid
FROM unnest($1::bigint[], $2::integer[]) AS w (shardid, nodeid)
JOIN pg_dist_node AS n USING (nodeid)
WHERE p.shardid = w.shardid;

-- name: make_shards
-- Empty, where they are placed now. Of an attempt that failed some may be there already.
WITH one AS (
    SELECT n.nodename::text AS name, n.nodeport AS port, s.shardid, e.part,
           CASE WHEN e.part = 0
                THEN format('DROP TABLE IF EXISTS %s;', shard_name(s.logicalrelid, s.shardid))
                ELSE format('PERFORM pg_catalog.worker_apply_shard_ddl_command(%s, %L, %L);',
                            s.shardid, c.relnamespace::regnamespace, e.command)
           END AS command
    FROM pg_dist_shard AS s
    JOIN pg_dist_placement AS p USING (shardid)
    JOIN pg_dist_node AS n ON n.groupid = p.groupid AND n.noderole = 'primary'
    JOIN pg_class AS c ON c.oid = s.logicalrelid
    CROSS JOIN LATERAL (
        SELECT 0, ''
        UNION ALL
        SELECT d.part, d.command
        FROM master_get_table_ddl_events(s.logicalrelid::text) WITH ORDINALITY AS d (command, part)
    ) AS e (part, command)
    WHERE s.shardid = ANY($1::bigint[])
),
node AS (
    SELECT name, port,
           format('DO $do$ BEGIN %s END $do$', string_agg(command, ' ' ORDER BY shardid, part))
           AS command
    FROM one GROUP BY name, port
)
SELECT a.node_name AS host, a.node_port AS port, a.success, a.result
FROM (
    SELECT array_agg(name) AS names, array_agg(port) AS ports, array_agg(command) AS commands
    FROM node
) AS every, master_run_on_worker(every.names, every.ports, every.commands, true) AS a;

-- name: tell_workers
SET LOCAL citus.enable_metadata_sync TO on;

-- name: sync_metadata
SELECT start_metadata_sync_to_all_nodes();
