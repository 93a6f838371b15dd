#!/usr/bin/env bash
# Sees to it that the service's user owns its database and is nothing more, and that the exporter
# only monitors. Run beside the server, whose own superuser has no password: who is in its container
# is let in, and nobody else. May be repeated.
#   PGHOST                where the server lets everybody in
#   SERVICE_USER, SERVICE_PASSWORD, SERVICE_DATABASE
#   EXPORTER_PASSWORD     of the role `exporter`; empty: it is not made
set -euo pipefail
export PGOPTIONS=--client-min-messages=warning

as() {
    psql -XqAt -v ON_ERROR_STOP=1 -U "$1" -d "$SERVICE_DATABASE" "${@:2}"
}

[ "$SERVICE_USER" != postgres ] || {
    echo "roles.sh: POSTGRES_USER is the service's user; postgres is the superuser's name" >&2
    exit 1
}

# In a volume of before the service's user is the superuser that the server was made by, who cannot
# be less. It gets the name that it has elsewhere.
if ! as postgres -c 'SELECT 1' >/dev/null 2>&1; then
    echo "roles.sh: $SERVICE_USER was the superuser; it is postgres now"
    # It may be there from a start that was cut off.
    as "$SERVICE_USER" <<'SQL'
SELECT 'CREATE ROLE hlfast_renaming LOGIN SUPERUSER'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hlfast_renaming') \gexec
SQL
    as hlfast_renaming <<'SQL'
\getenv user SERVICE_USER
ALTER ROLE :"user" RENAME TO postgres;
SQL
fi

# \getenv: arguments are for everybody to see.
as postgres <<'SQL'
\getenv user SERVICE_USER
\getenv password SERVICE_PASSWORD
\getenv database SERVICE_DATABASE
\getenv exporter EXPORTER_PASSWORD
DROP ROLE IF EXISTS hlfast_renaming;
ALTER ROLE postgres PASSWORD NULL;
SELECT format('CREATE ROLE %I', :'user')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'user') \gexec
ALTER ROLE :"user" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    PASSWORD :'password';
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
ALTER DATABASE :"database" OWNER TO :"user";
ALTER SCHEMA public OWNER TO :"user";
-- What a script of compose/initdb, or the superuser of before, has made in it.
SELECT format('ALTER %s %s OWNER TO %I', kind, name, :'user') FROM (
    SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END,
        oid::regclass::text
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')
        AND relowner <> :'user'::regrole
        -- A sequence of a column goes with its table.
        AND NOT EXISTS (
            SELECT FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype IN ('a', 'i')
                AND relkind = 'S'
        )
    UNION ALL
    SELECT CASE prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, oid::regprocedure::text
    FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proowner <> :'user'::regrole
        AND NOT EXISTS (
            SELECT FROM pg_depend
            WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
        )
    UNION ALL
    SELECT 'TYPE', oid::regtype::text
    FROM pg_type
    WHERE typnamespace = 'public'::regnamespace AND typtype IN ('d', 'e')
        AND typowner <> :'user'::regrole
) AS found (kind, name) \gexec
SELECT :'exporter' <> '' AS has_exporter \gset
\if :has_exporter
SELECT 'CREATE ROLE exporter'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'exporter') \gexec
ALTER ROLE exporter LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    CONNECTION LIMIT 5 PASSWORD :'exporter';
GRANT pg_monitor TO exporter;
GRANT CONNECT ON DATABASE :"database" TO exporter;
\endif
SQL
