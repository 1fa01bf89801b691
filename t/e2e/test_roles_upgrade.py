"""Databases that were made before there were roles are handed over to them."""

import subprocess
import time

import psycopg2
import pytest

from harness.build import ROOT
from harness.postgres_server import BIN
from harness.session import Session
from harness.waiting import wait_until


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


def test_roles_get_in_where_nobody_else_does(before):
    """What Postgres lets everybody do depends on its version, and on who made the database."""
    before.run("REVOKE ALL ON DATABASE before FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC")
    assert before.psql(ROOT / "conf" / "roles.sql").returncode == 0
    assert before.migrate("sluice_migrator").returncode == 0
    assert before.run("SELECT count(*) FROM logs", "sluice_reader") == [(0,)]
    assert before.run("SELECT count(*) FROM ledger", "sluice_loader") == [(0,)]


def test_what_everybody_may_is_taken_away(before):
    before.run("GRANT TEMPORARY ON DATABASE before TO PUBLIC;"
               "GRANT CREATE ON SCHEMA public TO PUBLIC;"
               "GRANT EXECUTE ON FUNCTION lo_create, lo_creat, lo_from_bytea TO PUBLIC")
    assert before.psql(ROOT / "conf" / "roles.sql").returncode == 0
    for role in ("sluice_reader", "sluice_loader"):
        for statement in ("CREATE TABLE mine (a integer)", "CREATE TEMPORARY TABLE mine (a integer)",
                          "SELECT lo_create(0)", "SELECT lo_creat(-1)",
                          "SELECT lo_from_bytea(0, 'x')"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                before.run(f"SET TRANSACTION READ WRITE; {statement}", role)


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
    cursor.execute(
        "DO $$ DECLARE mine text; BEGIN FOR mine IN"
        " SELECT 'TABLE ' || oid::regclass FROM pg_class WHERE relkind IN ('r', 'p')"
        "  AND relowner = 'sluice_migrator'::regrole"
        " UNION ALL SELECT 'SEQUENCE log_id_blocks'"
        " UNION ALL SELECT 'FUNCTION ' || oid::regprocedure FROM pg_proc"
        "  WHERE proowner = 'sluice_migrator'::regrole"
        " LOOP EXECUTE 'ALTER ' || mine || ' OWNER TO sluice'; END LOOP; END $$")
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
    wait_until(lambda: api.logs("pump-7", f"?limit={int(time.time()) % 900 + 10}").json.get("total") == 3,
               10, "the reader reads")


def test_the_table_of_another_system_stays_as_it_is(make_stack):
    """The first thing that is tried where there was another system: its database."""
    stack = make_stack()
    stack.postgres.start()
    Session(stack, "sluice", "postgres").run("CREATE DATABASE theirs")
    database = Database(stack, "theirs")
    database.run("CREATE TABLE logs (id serial PRIMARY KEY, message text)")
    assert database.psql(ROOT / "conf" / "roles.sql").returncode == 0
    done = database.migrate("sluice_migrator")
    assert done.returncode == 1
    assert 'relation \\"logs\\" already exists' in done.stderr
    assert "Give Sluice a database of its own in postgres.dsn" in done.stderr
    assert database.run("SELECT pg_get_userbyid(relowner)::text, count(*) OVER () FROM pg_class"
                        " WHERE relname = 'logs'") == [("sluice", 1)]
