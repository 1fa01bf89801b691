"""Each part of Sluice logs in as a role that can do what it has to, and nothing else; and databases
that were made before there were roles."""

import io
import subprocess
import time

import psycopg2
import pytest

from harness.build import ROOT
from harness.postgres_server import BIN
from harness.waiting import wait_until

REFUSED = psycopg2.errors.InsufficientPrivilege


class Session:
    """Of a role, whose statements are each on their own."""

    def __init__(self, stack, role, database="sluice"):
        self.connection = psycopg2.connect(host=str(stack.folder), dbname=database, user=role)
        self.connection.autocommit = True

    def run(self, sql):
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else None

    def copy(self, sql, text=""):
        with self.connection.cursor() as cursor:
            cursor.copy_expert(sql, io.StringIO(text))


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


# As nobody but the tables' owner, or a superuser, may.
NOT_OURS = [
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
    "CREATE TEMPORARY TABLE mine (a integer)",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "CREATE DATABASE mine",
    "CREATE ROLE mine",
    "ALTER ROLE sluice PASSWORD 'x'",
    "SET ROLE sluice",
    "SET ROLE sluice_migrator",
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
]

NOT_A_LOADERS = NOT_OURS + [
    "SELECT * FROM logs",
    "SELECT setval('log_id_blocks', 1)",
    "INSERT INTO logs SELECT * FROM logs",
    "UPDATE ledger SET n = 0",
    "UPDATE idempotency SET t = now()",
    "UPDATE dead_letters SET reason = ''",
]


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


def test_the_functions_of_a_loader_mean_what_they_say(connect):
    """Whatever else has the names that they use: with rights that a loader does not have."""
    connect("sluice").run("CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO sluice_loader")
    loader = connect("sluice_loader")
    loader.run("SET search_path = evil, public, pg_catalog")
    loader.run("CREATE TABLE evil.pg_class (oid oid, relname name, relnamespace oid);"
               "CREATE TABLE evil.logs (id bigint); CREATE TABLE evil.idempotency (t timestamptz);"
               "CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS"
               " $$ BEGIN RAISE 'called as %', current_user; END $$;"
               "CREATE FUNCTION evil.to_char(timestamptz, text) RETURNS text LANGUAGE plpgsql AS"
               " $$ BEGIN RAISE 'called as %', current_user; END $$")
    assert loader.run("SELECT public.sluice_make_partition('logs', 20000)") == [("logs_20241004",)]
    assert loader.run("SELECT public.sluice_make_partition('ledger', 480000)") == [
        ("ledger_2024100400",)]
    assert loader.run("SELECT public.sluice_forget_keys(1, 1)") == [(0,)]
    assert loader.run("SELECT public.sluice_forget_frames(480001)") == [(1,)]
    loader.run("SELECT public.sluice_drop_day('logs_20241004')")
    for parent in ("counters", "logs; DROP TABLE logs", "pg_class"):
        with pytest.raises(psycopg2.Error, match="has no partitions"):
            loader.run(f"SELECT public.sluice_make_partition('{parent}', 1)")


def test_who_is_logged_in_as_whom(stack):
    stack.api().log()
    stack.wait_rows(1)
    stack.api().logs("pump-7")
    logged_in = stack.postgres.query(
        "SELECT DISTINCT application_name, usename::text FROM pg_stat_activity"
        " WHERE application_name LIKE 'sluiced%' AND application_name <> 'sluiced-keep'")
    assert sorted(logged_in) == [("sluiced-load", "sluice_loader"),
                                 ("sluiced-serve", "sluice_reader")]
    users = {client["user"] for client in stack.redis.client.client_list()}
    assert users == {"edge", "loader", "operator"}


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


class Database:
    """One of its own, whose migrations can be chosen."""

    def __init__(self, stack, name):
        self.stack, self.name = stack, name

    def run(self, sql, role="sluice"):
        session = Session(self.stack, role, self.name)
        try:
            return session.run(sql)
        finally:
            session.connection.close()

    def psql(self, path, role="sluice"):
        return subprocess.run(
            [BIN / "psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-h", self.stack.folder,
             "-U", role, "-d", self.name, "-f", path], capture_output=True, text=True)

    def make_before_roles(self, role):
        """As sluiced migrate left it before 005_roles."""
        self.run("CREATE TABLE schema_migrations (version integer PRIMARY KEY, name text NOT NULL,"
                 " applied_at timestamptz NOT NULL DEFAULT now())", role)
        for path in sorted((ROOT / "sql").glob("00[1-4]_*.sql")):
            assert self.psql(path, role).returncode == 0
            self.run(f"INSERT INTO schema_migrations VALUES ({int(path.name[:3])}, '{path.stem}')",
                     role)
        self.run("CREATE TABLE logs_20241004 PARTITION OF logs FOR VALUES FROM"
                 " ('2024-10-04 00:00+00') TO ('2024-10-05 00:00+00');"
                 "INSERT INTO logs VALUES (1, '2024-10-04 12:00+00', 'old', 'INFO', 'm', '{}');"
                 "CREATE TABLE ledger_2024100412 PARTITION OF ledger FOR VALUES FROM"
                 " ('2024-10-04 12:00+00') TO ('2024-10-04 13:00+00')", role)

    def migrate(self, user):
        self.stack.loader.settings["SLUICED_POSTGRES_MIGRATOR_DSN"] = (
            f"user={user} dbname={self.name}")
        return self.stack.loader.run("migrate")

    def owners(self):
        return {owner for (owner,) in self.run(
            "SELECT relowner::regrole::text FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S', 'v')"
            " UNION SELECT proowner::regrole::text FROM pg_proc"
            " WHERE pronamespace = 'public'::regnamespace"
            " UNION SELECT typowner::regrole::text FROM pg_type"
            " WHERE typnamespace = 'public'::regnamespace AND typtype = 'e'")}


@pytest.fixture
def before(make_stack):
    """A database without roles, of an application's user, who may not make roles."""
    stack = make_stack()
    stack.postgres.start()
    database = Database(stack, "before")
    Session(stack, "sluice", "postgres").run("CREATE ROLE app LOGIN")
    Session(stack, "sluice", "postgres").run("CREATE DATABASE before OWNER app")
    return database


def without_roles(stack):
    """As in a cluster where nobody has run roles.sql."""
    for database in ("sluice", "before"):
        for role in ("sluice_loader", "sluice_reader"):
            Session(stack, "sluice", database).run(f"DROP OWNED BY {role}")
    for role in ("sluice_loader", "sluice_reader"):
        Session(stack, "sluice", "postgres").run(f"DROP ROLE {role}")


def test_one_who_may_not_make_roles_is_told_what_to_do(before):
    before.make_before_roles("app")
    without_roles(before.stack)
    done = before.migrate("app")
    assert done.returncode == 0, done.stderr
    assert "CREATE ROLE sluice_loader LOGIN; CREATE ROLE sluice_reader LOGIN; " in done.stderr
    assert before.owners() == {"app"}
    # As it says.
    before.run("CREATE ROLE sluice_loader LOGIN; CREATE ROLE sluice_reader LOGIN")
    done = before.migrate("app")
    assert done.returncode == 0 and "CREATE ROLE" not in done.stderr
    assert before.run("SELECT message FROM logs", "sluice_reader") == [("m",)]
    assert before.run("SELECT sluice_make_partition('logs', 20001)", "sluice_loader") == [
        ("logs_20241005",)]


def test_one_who_may_makes_them_without_a_login(before):
    before.make_before_roles("app")
    without_roles(before.stack)
    before.run("ALTER ROLE app CREATEROLE")
    assert before.migrate("app").returncode == 0
    assert before.run("SELECT rolname::text, rolcanlogin FROM pg_roles WHERE rolname ~ '^sluice_'"
                      " AND rolname <> 'sluice_migrator' ORDER BY 1") == [
        ("sluice_loader", False), ("sluice_reader", False)]


def test_tables_that_another_role_owns_are_handed_over(before):
    before.make_before_roles("app")
    before.run("CREATE TABLE of_somebody_else (a integer)", "app")
    refused = before.migrate("sluice_migrator")
    assert refused.returncode == 1
    assert "42501" in refused.stderr and "migrate as app, who owns the tables" in refused.stderr
    assert before.psql(ROOT / "conf" / "roles.sql").returncode == 0
    assert before.psql(ROOT / "conf" / "roles.sql").returncode == 0, "once more is no harm"
    done = before.migrate("sluice_migrator")
    assert done.returncode == 0, done.stderr
    assert before.run("SELECT tableowner FROM pg_tables WHERE tablename = 'of_somebody_else'") == [
        ("app",)]
    before.run("DROP TABLE of_somebody_else")
    assert before.owners() == {"sluice_migrator"}
    # Also what was there before can be read, added to, and dropped.
    assert before.run("SELECT message FROM logs", "sluice_reader") == [("m",)]
    before.run("SELECT sluice_drop_day('logs_20241004'); SELECT sluice_forget_frames(500000)",
               "sluice_loader")
    assert before.run("SELECT count(*) FROM pg_inherits WHERE inhparent IN ('logs'::regclass,"
                      " 'ledger'::regclass)") == [(0,)]


def test_all_that_migrations_make_is_handed_over(before):
    """roles.sql names what there is: this fails if a later migration makes more."""
    assert before.migrate("app").returncode == 0
    assert before.owners() == {"app"}
    assert before.psql(ROOT / "conf" / "roles.sql").returncode == 0
    assert before.owners() == {"sluice_migrator"}


def test_a_loader_goes_on_while_tables_are_handed_over(stack):
    """Loaders and the server run as one user who owns it all, and become roles one by one."""
    for part in (stack.loader, stack.server):
        part.stop()
    connection = stack.postgres.connect()
    cursor = connection.cursor()
    for (name,) in stack.postgres.query(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p') UNION SELECT 'log_id_blocks'"):
        cursor.execute(f"ALTER TABLE {name} OWNER TO sluice")
    cursor.execute("ALTER FUNCTION sluice_make_partition OWNER TO sluice;"
                   "ALTER FUNCTION sluice_drop_day OWNER TO sluice;"
                   "ALTER FUNCTION sluice_forget_frames OWNER TO sluice;"
                   "ALTER FUNCTION sluice_forget_keys OWNER TO sluice;"
                   "ALTER FUNCTION sluice_sum_counters OWNER TO sluice")
    connection.close()
    for part in (stack.loader, stack.server):
        part.settings |= {"SLUICED_POSTGRES_LOADER_DSN": "user=sluice",
                          "SLUICED_POSTGRES_READER_DSN": "user=sluice"}
        part.start()
    api = stack.api()
    assert api.log().status == 200
    stack.wait_rows(1)
    Database(stack, "sluice").psql(ROOT / "conf" / "roles.sql")
    assert stack.loader.run("migrate").returncode == 0
    assert api.log().status == 200
    stack.wait_rows(2)
    for part in (stack.loader, stack.server):
        part.stop()
        part.settings |= {"SLUICED_POSTGRES_LOADER_DSN": "user=sluice_loader",
                          "SLUICED_POSTGRES_READER_DSN": "user=sluice_reader"}
        part.start()
    assert api.log().status == 200
    stack.wait_rows(3)
    wait_until(lambda: api.logs("pump-7", f"?limit={int(time.time()) % 900 + 10}").json["total"] == 3,
               10, "the reader reads")
