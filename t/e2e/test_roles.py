"""Each part of Sluice logs in to Postgres as a role that can do what it has to, and nothing else."""

import psycopg2
import pytest

from harness.session import Session
from harness.waiting import wait_until

REFUSED = psycopg2.errors.InsufficientPrivilege


@pytest.fixture
def connect(stack):
    """Postgres with a record in it, and sessions of any role."""
    stack.api().log()
    stack.wait_rows(1)
    sessions = []

    def of(role):
        sessions.append(Session(stack, role))
        return sessions[-1]

    of("sluice")
    yield of
    for session in sessions:
        session.connection.close()


# As nobody but a superuser may.
NOT_ANYBODYS = [
    "CREATE TEMPORARY TABLE mine (a integer)",
    "CREATE SCHEMA mine",
    "CREATE DATABASE mine",
    "CREATE ROLE mine",
    "ALTER ROLE sluice PASSWORD 'x'",
    "SET ROLE sluice",
    "SET SESSION AUTHORIZATION sluice",
    "ALTER SYSTEM SET fsync = off",
    "SET session_replication_role = replica",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/x'",
    "COPY logs FROM PROGRAM 'true'",
    "COPY logs FROM '/etc/passwd'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_creat(-1)",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sluice'",
    "SELECT pg_reload_conf()",
    "CREATE EXTENSION dblink",
    "SELECT rolpassword FROM pg_authid",
    "DROP DATABASE postgres",
    "ALTER DATABASE sluice SET synchronous_commit = off",
    "GRANT pg_write_server_files TO CURRENT_USER",
]

# As nobody but the tables' owner may.
NOT_OURS = NOT_ANYBODYS + [
    "DELETE FROM logs",
    "UPDATE logs SET message = 'x'",
    "TRUNCATE logs",
    "DROP TABLE logs",
    "ALTER TABLE logs ADD COLUMN x integer",
    "CREATE INDEX ON logs (message)",
    "CREATE TRIGGER t BEFORE INSERT ON logs EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE r AS ON INSERT TO logs DO ALSO NOTHING",
    "ALTER TABLE logs OWNER TO CURRENT_USER",
    "DO $$ BEGIN LOCK TABLE logs IN ACCESS EXCLUSIVE MODE; END $$",
    "DELETE FROM ledger",
    "TRUNCATE ledger",
    "DELETE FROM idempotency",
    "DELETE FROM dead_letters",
    "DELETE FROM counters",
    "INSERT INTO imports (source, name, last_id) VALUES ('a', 'b', 1)",
    "INSERT INTO schema_migrations (version, name) VALUES (999, 'x')",
    "CREATE TABLE mine (a integer)",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "SET ROLE sluice_migrator",
]

NOT_A_READERS = NOT_OURS + [
    "INSERT INTO logs (id, created_at, device_id, log_level, message, log_data)"
    " VALUES (1, now(), 'd', 'INFO', 'm', '{}')",
    "INSERT INTO counters VALUES (now(), 'INFO', 'x', 1)",
    "UPDATE counters SET n = 0",
    "INSERT INTO ledger VALUES (now(), gen_random_uuid(), 'x', 1, 1)",
    "INSERT INTO dead_letters (t, u, position, stream_id, sqlstate, reason, row_bytes)"
    " VALUES (now(), gen_random_uuid(), 0, 'x', '', '', '')",
    "SELECT * FROM ledger",
    "SELECT * FROM idempotency",
    "SELECT * FROM dead_letters",
    "SELECT * FROM imports",
    "SELECT nextval('log_id_blocks')",
    "SELECT setval('log_id_blocks', 1)",
    "SELECT sluice_make_partition('logs', 0)",
    "SELECT sluice_drop_day('logs_20200101')",
    "SELECT sluice_forget_frames(0)",
    "SELECT sluice_forget_keys(0, 1)",
    "SELECT sluice_forget_devices()",
]

NOT_A_LOADERS = NOT_OURS + [
    "SELECT * FROM logs",
    "SELECT setval('log_id_blocks', 1)",
    "INSERT INTO logs SELECT * FROM logs",
    "UPDATE ledger SET n = 0",
    "UPDATE idempotency SET t = now()",
    "UPDATE dead_letters SET reason = ''",
    "DELETE FROM devices",
    "INSERT INTO counters_day VALUES (now(), 'INFO', 'x', 1)",
    "UPDATE counters_hour SET n = 0",
    "ALTER ROLE sluice_reader RESET default_transaction_read_only",
]

# All that there is for a role, as Postgres sees it: what is not here, and what is made in a
# migration to come, is nobody's but the owner's.
READERS = {
    "SELECT": {"logs", "counters", "counters_hour", "counters_day", "devices"},
}
LOADERS = {
    "SELECT": {"schema_migrations", "ledger", "idempotency", "counters", "dead_letters", "devices"},
    "INSERT": {"logs", "ledger", "idempotency", "counters", "dead_letters", "devices"},
    "UPDATE": {"counters", "devices"},
    "USAGE": {"log_id_blocks"},
    "EXECUTE": {"sluice_make_partition", "sluice_drop_day", "sluice_forget_frames",
                "sluice_forget_keys", "sluice_forget_devices"},
}

# Of whoever asks.
ALL_THAT_IT_MAY = """
    SELECT DISTINCT privilege, relname::text
    FROM pg_class AS c, unnest(CASE relkind
        WHEN 'S' THEN '{USAGE,SELECT,UPDATE}'::text[]
        ELSE '{SELECT,INSERT,UPDATE,REFERENCES,DELETE,TRUNCATE,TRIGGER}' END) AS privilege
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
        AND CASE WHEN relkind = 'S' THEN has_sequence_privilege(c.oid, privilege)
            WHEN privilege IN ('DELETE', 'TRUNCATE', 'TRIGGER')
                THEN has_table_privilege(c.oid, privilege)
            ELSE has_any_column_privilege(c.oid, privilege) END
    UNION ALL SELECT 'EXECUTE', proname FROM pg_proc
    WHERE pronamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
        AND has_function_privilege(oid, 'EXECUTE')
"""
BEYOND_TABLES = """
    SELECT 'CREATE', nspname::text FROM pg_namespace WHERE has_schema_privilege(oid, 'CREATE')
    UNION ALL SELECT privilege, datname
    FROM pg_database, unnest('{CREATE,TEMPORARY}'::text[]) AS privilege
    WHERE datname = current_database() AND has_database_privilege(oid, privilege)
    UNION ALL SELECT 'to be', rolname FROM pg_roles
    WHERE rolname <> current_user AND pg_has_role(oid, 'MEMBER')
    UNION ALL SELECT 'attribute', rolname FROM pg_roles WHERE rolname = current_user
        AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
"""
# Shared by all databases of the cluster, so that it sees what another database has, too.
OWNED = ("SELECT count(*) FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass"
         " AND refobjid = current_user::regrole AND deptype = 'o'")


def by_privilege(rows):
    found = {}
    for privilege, name in rows:
        found.setdefault(privilege, set()).add(name)
    return found


def test_all_that_each_may(connect):
    for role, rights in (("sluice_reader", READERS), ("sluice_loader", LOADERS)):
        session = connect(role)
        assert by_privilege(session.run(ALL_THAT_IT_MAY)) == rights
        assert by_privilege(session.run(BEYOND_TABLES)) == {}
        assert session.run(OWNED) == [(0,)]
    assert by_privilege(connect("sluice_migrator").run(BEYOND_TABLES)) == {"CREATE": {"public"}}


def refuse_all(session, statements):
    for statement in statements:
        try:
            session.run(statement)
        except REFUSED:
            continue
        except psycopg2.Error as error:
            pytest.fail(f"{statement}: {error.pgcode} {error}")
        pytest.fail(f"{statement}: was done")


def test_a_reader_can_do_nothing_but_read(connect):
    reader = connect("sluice_reader")
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        reader.run("INSERT INTO counters VALUES (now(), 'INFO', 'x', 1)")
    # It may switch that off, so rights alone have to do.
    reader.run("SET default_transaction_read_only = off")
    refuse_all(reader, NOT_A_READERS)
    assert reader.run("SELECT message FROM logs") == [("it flows",)]
    assert reader.run("SELECT sum(n) FROM counters") == [(1,)]


def test_a_loader_can_add_and_nothing_else(connect):
    loader = connect("sluice_loader")
    refuse_all(loader, NOT_A_LOADERS)
    with pytest.raises(REFUSED):
        loader.copy("COPY logs TO STDOUT")
    day, = loader.run("SELECT min(inhrelid::regclass::text) FROM pg_inherits"
                      " WHERE inhparent = 'logs'::regclass")[0]
    refuse_all(loader, [f"DROP TABLE {day}", f"INSERT INTO {day} SELECT * FROM {day}",
                        f"TRUNCATE {day}", f"ALTER TABLE logs DETACH PARTITION {day}"])


def test_a_migrator_is_no_superuser(connect):
    connect("sluice").run("CREATE TABLE of_somebody_else (a integer)")
    refuse_all(connect("sluice_migrator"), NOT_ANYBODYS + [
        "SELECT * FROM of_somebody_else", "DROP TABLE of_somebody_else"])


def test_the_functions_of_a_loader_mean_what_they_say(connect):
    """Whatever else has the names that they use: with rights that a loader does not have."""
    connect("sluice").run("CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO sluice_loader;"
                          "GRANT USAGE ON SCHEMA evil TO PUBLIC")
    loader = connect("sluice_loader")
    loader.run("SET search_path = evil, public, pg_catalog")
    loader.run("CREATE TABLE evil.pg_class (oid oid, relname name, relnamespace oid);"
               "CREATE TABLE evil.logs (id bigint); CREATE TABLE evil.idempotency (t timestamptz);"
               "CREATE TABLE evil.devices (last_seen timestamptz);"
               "CREATE TABLE evil.counters_hour (n bigint);"
               "CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS"
               " $$ BEGIN RAISE 'called as %', current_user; END $$;"
               "CREATE FUNCTION evil.to_char(timestamptz, text) RETURNS text LANGUAGE plpgsql AS"
               " $$ BEGIN RAISE 'called as %', current_user; END $$")
    assert loader.run("SELECT public.sluice_make_partition('logs', 20000)") == [("logs_20241004",)]
    # In one transaction: the loader that runs forgets such old frames, too, and may do it between.
    loader.run("BEGIN")
    assert loader.run("SELECT public.sluice_make_partition('ledger', 480000)") == [
        ("ledger_2024100400",)]
    assert loader.run("SELECT public.sluice_forget_keys(1, 1)") == [(0,)]
    wait_until(lambda: loader.run("SELECT public.sluice_forget_frames(480001)") == [(1,)], 5,
               "nobody else forgets")
    loader.run("COMMIT")
    loader.run("SELECT public.sluice_drop_day('logs_20241004')")
    assert loader.run("SELECT public.sluice_forget_devices()") == [(0,)]
    loader.run("INSERT INTO public.counters VALUES (date_trunc('minute', current_timestamp),"
               " 'INFO', 'x', 1)")
    for parent in ("counters", "logs; DROP TABLE logs", "pg_class"):
        with pytest.raises(psycopg2.Error, match="has no partitions"):
            loader.run(f"SELECT public.sluice_make_partition('{parent}', 1)")


def test_frames_of_the_last_hour_are_not_forgotten(connect):
    """Whatever hour a loader asks for."""
    loader = connect("sluice_loader")

    def hour():
        (now,), = loader.run("SELECT floor(extract(epoch FROM now()) / 3600)::bigint")
        return now

    before = hour()
    # The youngest is there already if an hour began since the loader was started.
    made = [name for age in range(4, 0, -1) for name, in loader.run(
        f"SELECT coalesce(sluice_make_partition('ledger', {before - age}), to_char(to_timestamp("
        f"{(before - age) * 3600}) AT TIME ZONE 'UTC', '\"ledger_\"YYYYMMDDHH24'))")]
    loader.run("SELECT sluice_forget_frames(9000000)")
    left = [name for name in made
            if loader.run(f"SELECT to_regclass('public.{name}') IS NOT NULL") == [(True,)]]
    # Unless an hour began just then.
    assert left == made[3:] or (hour() != before and left == [])


def test_who_is_logged_in_as_whom(stack):
    stack.api().log()
    stack.wait_rows(1)
    stack.api().logs("pump-7")
    logged_in = stack.postgres.query(
        "SELECT DISTINCT application_name, usename::text FROM pg_stat_activity"
        " WHERE application_name LIKE 'sluiced%'")
    # The loader has more of its own, now and then.
    now_and_then = {("sluiced-keep", "sluice_loader"), ("sluiced-devices", "sluice_loader")}
    assert set(logged_in) - now_and_then == {("sluiced-load", "sluice_loader"),
                                             ("sluiced-serve", "sluice_reader")}
    # Who has just connected has said nothing yet, and is nobody.
    users = {client["user"] for client in stack.redis.client.client_list()
             if client["cmd"] != "NULL"}
    assert users == {"edge", "loader", "reader", "operator"}


def test_the_server_only_reads_whoever_it_logs_in_as(make_stack):
    stack = make_stack(serve={"SLUICED_POSTGRES_READER_DSN": "user=sluice"}).start()
    stack.api().log()
    stack.wait_rows(1)
    connection = stack.postgres.connect()
    connection.cursor().execute("ALTER TABLE logs RENAME TO hidden;"
                                "CREATE VIEW logs AS SELECT *, nextval('log_id_blocks') FROM hidden")
    stack.allow("postgres did not answer")
    assert stack.api().logs("pump-7").status == 503
    assert "read-only transaction" in stack.server.log_text()
    connection.cursor().execute("DROP VIEW logs; ALTER TABLE hidden RENAME TO logs")
    connection.close()
