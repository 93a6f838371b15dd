-- The name by which workers find the master.
SELECT citus_set_coordinator_host(:'host', :port)
WHERE NOT EXISTS (
    SELECT FROM pg_dist_node WHERE groupid = 0 AND (nodename, nodeport) = (:'host', :port)
);
