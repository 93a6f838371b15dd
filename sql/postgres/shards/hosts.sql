-- What a host of DIALOGS_DATABASE_URL says of itself. Nothing here changes anything.

-- name: is_cluster
-- A table of Citus.
SELECT to_regclass('pg_dist_node') IS NOT NULL AS answer;

-- name: view
-- group_id is 0 on the coordinator. Two nodes with the same `nodes` are of one cluster, and both know
-- who left it. A node that has yet to commit what the coordinator decided may not know where a shard
-- is: its locks hold up every write meanwhile, but no read.
SELECT (SELECT groupid FROM pg_dist_local_group) AS group_id,
       (SELECT string_agg(format('%s %s:%s %s', groupid, nodename, nodeport, isactive), ', '
                          ORDER BY nodeid)
        FROM pg_dist_node) AS nodes,
       EXISTS (SELECT FROM pg_dist_node AS n JOIN pg_dist_local_group USING (groupid)
               WHERE n.noderole = 'primary' AND n.isactive) AS is_active,
       EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = to_regclass('dialog'))
       AS has_dialogs,
       EXISTS (SELECT FROM pg_prepared_xacts
               WHERE database = current_database() AND gid LIKE 'citus\_0\_%'
                 AND prepared < clock_timestamp() - interval '1 second') AS is_behind;
