#!/usr/bin/env bash
# Makes the user that standbys connect as, or gives it the password of the environment.
set -euo pipefail

# \getenv: arguments are for everybody to see.
psql -XqAt -v ON_ERROR_STOP=1 <<'SQL'
\getenv password REPLICATION_PASSWORD
SELECT 'CREATE ROLE replicator LOGIN REPLICATION'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'replicator') \gexec
ALTER ROLE replicator PASSWORD :'password';
SQL
