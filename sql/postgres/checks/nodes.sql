-- The nodes of a cluster that do not answer, and how many shards of the dialogs only they have.
SELECT n.nodename || ':' || n.nodeport AS node, a.result AS why,
       (SELECT count(*) FROM pg_dist_placement AS p JOIN pg_dist_shard AS s USING (shardid)
        WHERE p.groupid = n.groupid AND s.logicalrelid = to_regclass('dialog')) AS shards,
       (SELECT count(*) FROM pg_dist_shard AS s WHERE s.logicalrelid = to_regclass('dialog'))
           AS shards_of_all
FROM run_command_on_all_nodes('SELECT 1') AS a
JOIN pg_dist_node AS n ON n.nodeid = a.nodeid
WHERE NOT a.success
ORDER BY 1;
