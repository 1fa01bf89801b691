-- The roles that Sluice logs in to Postgres as, so that each part can do what it has to, and no
-- more: sluice_migrator owns the tables (sluiced migrate, import, dead-letters), sluice_loader adds
-- to them (load, status, check), sluice_reader reads what the API serves (serve).
--
-- For a Postgres of yours; scripts/up does it for its own. Run it as a superuser, in Sluice's
-- database, as often as you like:
--
--   psql -d sluice -f roles.sql
--   sluiced migrate                # as sluice_migrator, who grants the others what they need
--
-- Then say who they are in sluiced.toml (postgres.loader_dsn = "user=sluice_loader", ...). Passwords
-- (\password sluice_loader) and pg_hba.conf are yours. Without these roles all is done by the user
-- in postgres.dsn, who then owns all tables, too.

\set ON_ERROR_STOP on
SET lock_timeout = '10s';
SET client_min_messages = warning;
BEGIN;

DO $$
DECLARE
    role text;
    home text := coalesce((SELECT relnamespace::regnamespace FROM pg_class
                           WHERE oid = to_regclass('logs'))::text, quote_ident(current_schema()));
    mine text;
BEGIN
    FOREACH role IN ARRAY ARRAY['sluice_migrator', 'sluice_loader', 'sluice_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I', role);
        END IF;
        EXECUTE format('ALTER ROLE %I LOGIN', role);
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', home, role);
    END LOOP;
    EXECUTE format('GRANT CREATE ON SCHEMA %s TO sluice_migrator', home);
    ALTER ROLE sluice_reader SET default_transaction_read_only = on;

    -- What Postgres lets everybody do, and readers shall not.
    EXECUTE format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC', home);
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE EXECUTE ON FUNCTION pg_catalog.lo_creat(integer), pg_catalog.lo_create(oid),
        pg_catalog.lo_from_bytea(oid, bytea) FROM PUBLIC;

    -- What another role has made before: its tables with their partitions (also those that are not
    -- attached any more, and shall be dropped), the sequence, the type and the functions. Logs
    -- without partitions are those of another system.
    FOR mine IN
        SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass
        FROM pg_class c LEFT JOIN pg_inherits ON inhrelid = c.oid
        WHERE relnamespace = home::regnamespace AND relkind IN ('r', 'p', 'S')
            AND relowner <> 'sluice_migrator'::regrole
            AND NOT (relname = 'logs' AND relkind = 'r')
            AND (relname IN ('schema_migrations', 'logs', 'ledger', 'counters', 'counters_hour',
                             'counters_day', 'devices', 'dead_letters', 'idempotency', 'imports',
                             'log_id_blocks')
                 OR inhparent IN (to_regclass('logs'), to_regclass('ledger'))
                 OR obj_description(c.oid, 'pg_class') = 'sluice: to be dropped')
        UNION ALL
        SELECT 'TYPE ' || oid::regtype FROM pg_type
        WHERE oid = to_regtype('log_level') AND typowner <> 'sluice_migrator'::regrole
        UNION ALL
        SELECT 'FUNCTION ' || oid::regprocedure FROM pg_proc
        WHERE pronamespace = home::regnamespace AND proname LIKE 'sluice\_%'
            AND proowner <> 'sluice_migrator'::regrole
    LOOP
        EXECUTE format('ALTER %s OWNER TO sluice_migrator', mine);
    END LOOP;
END
$$;

COMMIT;
