-- On the master. A server that has been there before is the same one under another name; its
-- connections under the old one, if any hang, are given up after 10 s.
SELECT citus_update_node(nodeid, :'host', :port, force => true)
FROM pg_dist_node
WHERE groupid = :group AND groupid <> 0 AND noderole = 'primary'
  AND (nodename, nodeport) <> (:'host', :port);

SELECT citus_add_node(:'host', :port)
WHERE NOT EXISTS (
    SELECT FROM pg_dist_node WHERE (nodename, nodeport) = (:'host', :port)
);
