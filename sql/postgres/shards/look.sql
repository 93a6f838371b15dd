-- What a Citus coordinator knows of itself. Nothing here changes anything.

-- name: extension
SELECT (SELECT extversion FROM pg_extension WHERE extname = 'citus') AS installed,
       (SELECT default_version FROM pg_available_extensions WHERE name = 'citus') AS available,
       -- Of the settings that it brings along any will do; shared_preload_libraries is not for every
       -- user to see.
       current_setting('citus.shard_count', true) IS NOT NULL AS is_loaded;

-- name: coordinator
-- group_id is 0 on the coordinator, and on a server that belongs to no cluster.
SELECT (SELECT groupid FROM pg_dist_local_group) AS group_id,
       EXISTS (SELECT FROM pg_dist_node WHERE groupid = 0) AS has_address;

-- name: nodes
SELECT n.nodeid AS id, n.nodename AS host, n.nodeport AS port, n.isactive AS active,
       n.shouldhaveshards AS takes_shards, n.groupid = 0 AS is_coordinator,
       (SELECT count(*) FROM pg_dist_placement AS p JOIN pg_dist_shard AS s USING (shardid)
        WHERE p.groupid = n.groupid AND s.logicalrelid = to_regclass('dialog')) AS shards,
       (SELECT count(*) FROM pg_dist_placement AS p JOIN pg_dist_shard AS s USING (shardid)
        JOIN pg_dist_partition AS t USING (logicalrelid)
        WHERE p.groupid = n.groupid AND t.partmethod <> 'n') AS placements
FROM pg_dist_node AS n
WHERE n.noderole = 'primary'
ORDER BY n.groupid;

-- name: node_bytes
SELECT nodename AS host, nodeport AS port, sum(shard_size)::bigint AS bytes
FROM citus_shards
GROUP BY nodename, nodeport;

-- name: tables
-- Of ours; colocation_id is null where the table is not distributed.
SELECT c.relname AS name, t.colocationid AS colocation_id,
       t.partmethod = 'n' AS is_reference,
       (SELECT count(*) FROM pg_dist_shard AS s WHERE s.logicalrelid = c.oid) AS shards,
       EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid
               AND (i.indisprimary OR i.indisreplident)) OR c.relreplident = 'f' AS has_identity
FROM pg_class AS c
LEFT JOIN pg_dist_partition AS t ON t.logicalrelid = c.oid
WHERE c.oid IN (to_regclass('dialog'), to_regclass('message'), to_regclass('messageoutbox'),
                to_regclass('"user"'))
ORDER BY c.relname;

-- name: delegated
-- The functions that a call is handed on of, whole, to the node of its dialog.
SELECT f.proname AS name
FROM pg_dist_object AS o
JOIN pg_proc AS f ON o.classid = 'pg_proc'::regclass AND f.oid = o.objid
JOIN pg_dist_partition AS t ON t.colocationid = o.colocationid
WHERE t.logicalrelid = to_regclass('dialog') AND o.distribution_argument_index = 0;

-- name: guard
SELECT to_regclass('dialogs_guard') IS NOT NULL AS is_there;

-- name: send_nowhere
-- As a message is sent, to a dialog that is not there: nothing is written.
SELECT outcome FROM message_send($1, 1, 2, '', NULL, false);

-- name: ranges
-- Each shard of dialog: its hashes, both ends included, and its node.
SELECT s.shardid AS id, s.shardminvalue::integer AS low, s.shardmaxvalue::integer AS high,
       n.nodeid AS node_id
FROM pg_dist_shard AS s
JOIN pg_dist_placement AS p USING (shardid)
JOIN pg_dist_node AS n ON n.groupid = p.groupid AND n.noderole = 'primary'
WHERE s.logicalrelid = to_regclass('dialog')
ORDER BY low;

-- name: answers
-- Each node's word on what moving shards needs of it.
SELECT n.nodename AS host, n.nodeport AS port, a.success,
       a.result
FROM run_command_on_all_nodes($command$
    SELECT json_build_object(
        'wal_level', current_setting('wal_level'),
        'max_worker_processes', current_setting('max_worker_processes')::int,
        'workers_running', (SELECT count(*) FROM pg_stat_activity
            WHERE backend_type IN ('background worker', 'logical replication launcher',
                                   'logical replication worker', 'parallel worker')
               OR backend_type LIKE 'Citus%'),
        'max_replication_slots', current_setting('max_replication_slots')::int,
        'max_wal_senders', current_setting('max_wal_senders')::int,
        -- Not for every user to see: then it is not looked at.
        'output_plugin_libraries',
        CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE')
             THEN current_setting('output_plugin_libraries', true) END)
$command$) AS a
JOIN pg_dist_node AS n ON n.nodeid = a.nodeid
ORDER BY n.groupid;

-- name: alive
-- Each node and whether it answers; result: why not.
SELECT n.nodename AS host, n.nodeport AS port, a.success, a.result
FROM run_command_on_all_nodes('SELECT 1') AS a
JOIN pg_dist_node AS n ON n.nodeid = a.nodeid
ORDER BY n.groupid;

-- name: only_there
-- The shards of these nodes, those that lie side by side one after the other.
SELECT s.shardid AS id, s.logicalrelid::text AS name, t.colocationid AS colocation_id,
       s.shardminvalue AS low
FROM pg_dist_shard AS s
JOIN pg_dist_placement AS p USING (shardid)
JOIN pg_dist_partition AS t USING (logicalrelid)
JOIN pg_dist_node AS n ON n.groupid = p.groupid AND n.noderole = 'primary'
WHERE n.nodeid = ANY($1::integer[]) AND t.partmethod <> 'n'
ORDER BY t.colocationid, s.shardminvalue::bigint, s.shardid;

-- name: moves
-- What a rebalance would move now. $1: only away from nodes that take no shards.
SELECT table_name::text AS name, shardid AS id, shard_size AS bytes, sourcename AS from_host,
       sourceport AS from_port, targetname AS to_host, targetport AS to_port
FROM get_rebalance_table_shards_plan(drain_only => $1);

-- name: placements
SELECT p.shardid AS id, n.nodename AS host, n.nodeport AS port
FROM pg_dist_placement AS p
JOIN pg_dist_node AS n ON n.groupid = p.groupid AND n.noderole = 'primary'
WHERE p.shardid = ANY($1::bigint[]);

-- name: under_way
-- The shards being copied: how much of each has arrived.
SELECT shardid AS id, target_shard_size AS bytes, status
FROM get_rebalance_progress()
WHERE progress = 1;

-- name: rebalance
-- The newest rebalance, if there ever was one. Not from citus_rebalance_status(): it asks for the
-- size of what is moved, and fails while that has just moved, or while another database of the same
-- server moves something.
SELECT j.job_id, j.state::text AS state,
       json_build_object(
           'task_state_counts',
           (SELECT json_object_agg(s.status, s.n) FROM (
               SELECT t.status, count(*) AS n FROM pg_dist_background_task AS t
               WHERE t.job_id = j.job_id GROUP BY t.status
           ) AS s),
           'tasks',
           (SELECT json_agg(json_build_object('message', t.message))
            FROM pg_dist_background_task AS t
            WHERE t.job_id = j.job_id AND t.status <> 'done')
       )::text AS details
FROM pg_dist_background_job AS j
WHERE j.job_type = 'rebalance'
ORDER BY j.job_id DESC
LIMIT 1;

-- name: retried
-- The move of the newest rebalance that was tried again most often.
SELECT t.retry_count AS retried, t.message
FROM pg_dist_background_task AS t
WHERE t.job_id = (SELECT max(job_id) FROM pg_dist_background_job WHERE job_type = 'rebalance')
  AND t.retry_count > 0 AND t.status IN ('runnable', 'running')
ORDER BY t.retry_count DESC
LIMIT 1;

-- name: bytes
SELECT coalesce(sum(shard_size), 0)::bigint AS bytes
FROM citus_shards
WHERE table_name IN (to_regclass('dialog'), to_regclass('message'),
                     to_regclass('messageoutbox'));
