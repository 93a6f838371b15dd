-- The service's user owns this database and is nothing more. On each node by itself: one that has
-- joined is told nothing by another.
SET citus.enable_ddl_propagation = off;
SET client_min_messages = warning;
\getenv user SERVICE_USER
\getenv password SERVICE_PASSWORD
-- In a cluster of before it is the superuser that the server was made by, who cannot be less.
SELECT :'user' <> current_user AS is_another \gset
\if :is_another
SELECT format('CREATE ROLE %I', :'user')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'user') \gexec
ALTER ROLE :"user" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    PASSWORD :'password';
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT format('ALTER DATABASE %I OWNER TO %I', current_database(), :'user') \gexec
ALTER SCHEMA public OWNER TO :"user";
\endif
