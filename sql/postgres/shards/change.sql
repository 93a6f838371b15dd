-- What `hlfast shards` does to a Citus coordinator, each printed by --dry-run.

-- name: create_extension
CREATE EXTENSION IF NOT EXISTS citus;

-- name: set_coordinator
SELECT citus_set_coordinator_host($1, $2);

-- name: one_connection
-- Tables and functions in one transaction need one connection to each node.
SET LOCAL citus.multi_shard_modify_mode TO sequential;

-- name: message_triggers
-- By which pages that are kept see what was changed by a statement. A distributed table has none.
SELECT message_triggers($1);

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
