"""`hlfast shards`: the dialogs on a Citus cluster."""
