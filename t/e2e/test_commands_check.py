"""The command line, and sluiced check against parts that are well, and that are not."""

import json
import re
import subprocess

import pytest

from harness.build import SLUICED
from harness.postgres_server import own
from harness.waiting import free_port, wait_for_a_day, wait_until

COMMANDS = ("load", "serve", "migrate", "check", "status", "dead-letters", "import")
# What the README says a loader needs, and what a check asks besides.
RIGHTS = ["+@stream", "+select", "+client|setname", "+hset", "+hgetall", "+hdel", "+pexpire",
          "+time", "+eval", "+info", "+config|get"]
NEEDED = ["xgroup|create", "xreadgroup", "xautoclaim", "xack", "xinfo|groups", "xinfo|stream",
          "xpending", "xtrim", "xrange", "hset", "hgetall", "hdel", "pexpire", "time", "eval"]
# What a server asks.
READERS = ["time", "xpending", "xinfo|groups", "xinfo|stream", "xread", "xrange", "multi", "exec"]


def sluiced(*arguments):
    return subprocess.run([SLUICED, *arguments], capture_output=True, text=True, timeout=30,
                          check=False)


class Checked:
    def __init__(self, part, *arguments):
        done = part.run("check", "--json", *arguments)
        assert done.stderr == "", done.stderr
        answer = json.loads(done.stdout)
        self.status = done.returncode
        self.findings = {finding["check"]: finding for finding in answer["findings"]}
        assert len(self.findings) == len(answer["findings"]), "a name is there twice"
        failed = any(finding["verdict"] == "FAIL" for finding in self.findings.values())
        assert answer["ok"] is not failed and self.status == int(failed)

    @property
    def trouble(self):
        for finding in self.findings.values():
            assert bool(finding["todo"]) == (finding["verdict"] != "ok"), finding
        return {name: finding["verdict"] for name, finding in self.findings.items()
                if finding["verdict"] != "ok"}


@pytest.fixture
def stack(make_stack):
    """Without nginx; the loader has made its group."""
    wait_for_a_day()  # of the next one there is no partition for its first minute
    stack = make_stack()
    stack.start_loading()
    stack.server.start()
    wait_until(lambda: stack.redis.client.hget("logs:stream:loader", "postgres") == b"up", 15,
               "the loader tells")
    stack.wait_partitions()
    return stack


def trouble(stack, *arguments):
    return Checked(stack.loader, *arguments).trouble


def message(stack, name):
    finding = Checked(stack.loader).findings[name]
    return f"{finding['what']} -> {finding['todo']}"


def test_help_teaches():
    said = sluiced("--help")
    assert said.returncode == 0 and said.stderr == ""
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\w", said.stdout, re.M), name
        help_text = sluiced(name, "--help").stdout
        assert help_text.startswith(f"usage: sluiced {name}")
        assert "example" in help_text and "exit: 0" in help_text and "--config FILE" in help_text
        assert max(map(len, help_text.splitlines())) <= 100
    assert re.fullmatch(r"sluiced \d+\.\d+\.\d+\n", sluiced("--version").stdout)


@pytest.mark.parametrize(("arguments", "line"), [
    ([], "a command is wanted"),
    (["chekc"], "unknown command chekc: did you mean check?"),
    (["--hepl"], "unknown command --hepl: did you mean --help?"),
    (["check", "--jsno"], "check: unknown option --jsno: did you mean --json?"),
    (["load", "--pidfile", "x"], "load: unknown option --pidfile: did you mean --pid-file?"),
    (["check", "--config"], "check: --config wants a value behind it"),
    (["load", "--config", ""], "load: --config names no file"),
    (["check", "everything"], "check: nothing is known of everything"),
    (["check", "--durability", "full"], "check: --durability is fsync, everysec or memory"),
])
def test_a_mistake_is_one_line_with_what_was_meant(arguments, line):
    said = sluiced(*arguments)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.count("\n") == 1
    assert said.stderr.startswith(f"sluiced: {line} (")


def test_all_is_well(stack):
    assert trouble(stack) == {}
    said = stack.loader.run("check")
    assert said.returncode == 0 and said.stderr == ""
    assert all(line.startswith("ok    ") for line in said.stdout.splitlines())
    assert "\x1b" not in said.stdout
    assert len(said.stdout.splitlines()) >= 25
    # Nothing was changed by it.
    assert [group["name"] for group in stack.redis.client.xinfo_groups("logs:stream")] == [
        b"log_workers"]
    assert stack.redis.client.xlen("logs:stream") == 0


def test_settings_that_cannot_be_read(stack):
    stack.loader.conf = stack.loader.conf.replace("batch_rows", "batch_rowz")
    assert trouble(stack) == {"settings": "FAIL"}
    assert "did you mean load.batch_rows?" in message(stack, "settings")
    said = sluiced("check", "--config", "/nowhere/sluiced.toml")
    assert said.returncode == 1 and "FAIL  settings: cannot read /nowhere" in said.stdout


@pytest.mark.parametrize("command", [["load"], ["serve"], ["migrate"], ["status"],
                                     ["dead-letters", "list"], ["import", "--from", "dbname=x"]])
def test_a_mistake_in_the_settings_is_one_line_from_every_command(tmp_path, command):
    """Which mistakes there are, and what is said of each, is in settings_test."""
    conf = tmp_path / "sluiced.toml"
    conf.write_text("[load]\n\nbatch_rows = 0\n")
    said = sluiced(*command, "--config", str(conf))
    assert (said.returncode, said.stdout, said.stderr.count("\n")) == (2, "", 1)
    assert f"{conf}:3: load.batch_rows is 0: it must be a whole number of rows" in said.stderr


def test_settings_that_do_not_go_together(stack):
    stack.loader.settings["SLUICED_LOAD_CLAIM_IDLE_MS"] = "30000"
    assert trouble(stack) == {"settings_claim_idle": "warn"}


def test_redis_that_is_set_to_less(stack):
    stack.allow("redis is less durable")
    client = stack.redis.client
    for name, value, well, found in (
        ("appendfsync", "everysec", "always", {"redis_appendfsync": "FAIL"}),
        ("appendonly", "no", "yes", {"redis_appendonly": "FAIL"}),
        ("no-appendfsync-on-rewrite", "yes", "no", {"redis_rewrite": "FAIL"}),
        ("maxmemory-policy", "allkeys-lru", "noeviction", {"redis_policy": "FAIL"}),
        ("maxmemory", "0", "256mb", {"redis_maxmemory": "warn"}),
        ("maxmemory", client.info()["used_memory"] * 4 // 3, "256mb", {"redis_maxmemory": "warn"}),
        ("save", "3600 1", "", {"redis_snapshots": "warn"}),
    ):
        client.config_set(name, value)
        assert trouble(stack) == found, name
        client.config_set(name, well)
        wait_until(lambda: trouble(stack) == {}, 30, "all is well again, of a new AOF once it is whole")
    client.config_set("appendfsync", "everysec")
    assert trouble(stack, "--durability", "everysec") == {}
    stack.loader.settings["SLUICED_REDIS_DURABILITY"] = "everysec"
    assert trouble(stack) == {}
    assert trouble(stack, "--durability", "fsync") == {"redis_appendfsync": "FAIL"}
    del stack.loader.settings["SLUICED_REDIS_DURABILITY"]
    assert "2 seconds of acknowledged logs" in message(stack, "redis_appendfsync")
    client.config_set("appendfsync", "always")
    assert trouble(stack) == {}


def test_redis_that_is_no_master(stack):
    stack.allow("redis is less durable")
    port = free_port()
    stack.redis.client.replicaof("127.0.0.1", port)
    assert trouble(stack)["redis_role"] == "FAIL"
    stack.redis.client.replicaof("NO", "ONE")
    wait_until(lambda: trouble(stack) == {}, 15, "it is well again")


def test_redis_whose_snapshots_fail(stack):
    stack.redis.client.config_set("save", "3600 1")
    in_the_way = stack.folder / "redis" / "dump.rdb"
    in_the_way.mkdir()
    stack.redis.client.bgsave()
    wait_until(lambda: stack.redis.client.info()["rdb_last_bgsave_status"] == "err", 10)
    assert trouble(stack)["redis_snapshots"] == "FAIL"
    in_the_way.rmdir()
    stack.redis.client.bgsave()
    wait_until(lambda: trouble(stack) == {"redis_snapshots": "warn"}, 10)


def test_redis_that_is_away(stack):
    stack.redis.stop()
    found = Checked(stack.loader)
    assert found.trouble == {"redis_connection": "FAIL"}
    assert found.findings["postgres_connection"]["verdict"] == "ok"
    assert f"{stack.folder}/redis.sock" in found.findings["redis_connection"]["what"]
    stack.redis.start()


def test_logins_and_passwords(stack):
    stack.allow("redis refused checker")
    stack.redis.client.execute_command("ACL", "SETUSER", "checker", "on", ">secret", *RIGHTS,
                                       "~logs:stream*")
    stack.loader.settings["SLUICED_REDIS_PASSWORD_FILE"] = ""
    stack.loader.settings["SLUICED_REDIS_URL"] = f"unix://checker:wrong@{stack.redis.socket_path}"
    assert trouble(stack) == {"redis_login": "FAIL"}
    assert "wrong@" not in json.dumps(Checked(stack.loader).findings)
    (stack.folder / "password").write_text("secret\n")
    (stack.folder / "password").chmod(0o600)
    stack.loader.settings["SLUICED_REDIS_PASSWORD_FILE"] = f"{stack.folder}/password"
    assert trouble(stack) == {}
    (stack.folder / "empty").write_text("\nsecret\n")
    for name, why in (("nowhere", "No such file or directory"), ("empty", "first line is empty")):
        stack.loader.settings["SLUICED_REDIS_PASSWORD_FILE"] = f"{stack.folder}/{name}"
        said = message(stack, "redis_login")
        assert f"cannot read the password file {stack.folder}/{name}: " in said and why in said


@pytest.mark.parametrize("right", NEEDED)
def test_each_right_that_is_missing_in_redis(stack, right):
    stack.allow("redis refused checker")
    acl = ["ACL", "SETUSER", "checker", "reset", "on", "nopass", *RIGHTS, "~logs:stream*"]
    stack.redis.client.execute_command(*acl, f"-{right}")
    stack.loader.settings["SLUICED_REDIS_URL"] = f"unix://checker:x@{stack.redis.socket_path}"
    stack.loader.settings["SLUICED_REDIS_PASSWORD_FILE"] = ""
    found = Checked(stack.loader)
    assert found.trouble["redis_rights"] == "FAIL"
    finding = found.findings["redis_rights"]
    assert finding["what"].endswith(f": {right}")
    assert finding["todo"] == f"ACL SETUSER checker +{right}"
    # As it says.
    stack.redis.client.execute_command(*finding["todo"].split())
    assert trouble(stack) == {}


@pytest.mark.parametrize("right", READERS)
def test_each_right_that_the_servers_user_lacks(stack, right):
    stack.allow("redis refused looker")
    acl = ["ACL", "SETUSER", "looker", "reset", "on", ">secret", "~logs:stream",
           "+client|setname", *(f"+{name}" for name in READERS)]
    stack.redis.client.execute_command(*acl, f"-{right}")
    stack.loader.settings["SLUICED_REDIS_READER_URL"] = (
        f"unix://looker:secret@{stack.redis.socket_path}")
    stack.loader.settings["SLUICED_REDIS_READER_PASSWORD_FILE"] = ""
    assert trouble(stack) == {"redis_reader_rights": "FAIL"}
    finding = Checked(stack.loader).findings["redis_reader_rights"]
    assert finding["what"].endswith(f"user looker may not run, on the keys of the stream: {right}")
    assert finding["todo"] == f"ACL SETUSER looker +{right}"
    # As it says.
    stack.redis.client.execute_command(*finding["todo"].split())
    assert trouble(stack) == {}


def test_a_server_that_cannot_log_in_to_redis(stack):
    stack.allow("redis refused (reader|loader)")
    well = dict(stack.loader.settings)
    stack.loader.settings["SLUICED_REDIS_READER_PASSWORD_FILE"] = f"{stack.folder}/nowhere"
    assert trouble(stack) == {"redis_reader_login": "FAIL"}
    assert f"{stack.folder}/nowhere: No such file" in message(stack, "redis_reader_login")
    stack.loader.settings["SLUICED_REDIS_READER_PASSWORD_FILE"] = ""
    stack.loader.settings["SLUICED_REDIS_READER_URL"] = (
        f"unix://reader:wrong@{stack.redis.socket_path}")
    assert "as reader: WRONGPASS" in message(stack, "redis_reader_login")
    assert "wrong@" not in json.dumps(Checked(stack.loader).findings)
    # The loader's user does not do for both.
    stack.loader.settings = {**well, "SLUICED_REDIS_READER_URL": "",
                             "SLUICED_REDIS_READER_PASSWORD_FILE": ""}
    assert message(stack, "redis_reader_rights").endswith("-> ACL SETUSER loader +xread +multi +exec")


def test_rights_that_are_about_keys_and_questions(stack):
    stack.allow("redis refused (checker|reader)")
    stack.loader.settings["SLUICED_REDIS_URL"] = f"unix://checker:x@{stack.redis.socket_path}"
    stack.loader.settings["SLUICED_REDIS_PASSWORD_FILE"] = ""
    acl = ["ACL", "SETUSER", "checker", "reset", "on", "nopass", *RIGHTS]
    stack.redis.client.execute_command(*acl, "~logs:stream")
    assert message(stack, "redis_rights").endswith("ACL SETUSER checker ~logs:stream*")
    stack.redis.client.execute_command("ACL", "SETUSER", "reader", "resetkeys")
    assert message(stack, "redis_reader_rights").endswith("ACL SETUSER reader ~logs:stream*")
    stack.redis.client.execute_command("ACL", "SETUSER", "reader", "~logs:stream")
    stack.redis.client.execute_command(*acl, "~logs:stream*", "-config|get")
    assert trouble(stack) == {"redis_durability": "FAIL"}
    stack.redis.client.execute_command(*acl, "~logs:stream*", "-info")
    assert trouble(stack) == {"redis_durability": "FAIL"}
    assert "+info +config|get" in message(stack, "redis_durability")


def test_the_stream_and_its_groups(make_stack):
    stack = make_stack(load={"SLUICED_REDIS_OTHER_GROUPS": "archive"})
    stack.redis.start()
    stack.postgres.start()
    client = stack.redis.client
    before = {"loader": "warn", "server": "warn", "postgres_partitions": "warn"}
    assert trouble(stack) == {**before, "redis_stream": "warn"}
    assert not client.exists("logs:stream")
    client.xadd("logs:stream", {"a": "b"})
    assert trouble(stack) == {**before, "redis_group": "warn", "redis_other_groups": "warn"}
    client.xgroup_create("logs:stream", "log_workers", "0")
    client.xgroup_create("logs:stream", "archive", "0")
    assert trouble(stack) == before
    client.delete("logs:stream")
    client.set("logs:stream", "x")
    assert trouble(stack) == {**before, "redis_stream": "FAIL"}


def test_clocks_that_differ(stack):
    stack.loader.wall_clock = "+30s"
    assert trouble(stack) == {"redis_clock": "warn", "postgres_clock": "warn"}
    assert re.search(r"its clock is (2\d|30) s behind", message(stack, "redis_clock"))
    stack.loader.wall_clock = "-2h"
    found = Checked(stack.loader)
    assert found.trouble == {"redis_clock": "FAIL", "postgres_clock": "FAIL"}
    assert re.search(r"clock is (2 h 0|1 h 59) min ahead", found.findings["postgres_clock"]["what"])


def test_the_loader_that_cannot_store(stack):
    stack.allow("postgres")
    stack.loader.pause()
    stack.redis.client.hset("logs:stream:loader", "postgres", "down")
    stack.redis.client.persist("logs:stream:loader")
    assert trouble(stack)["loader"] == "FAIL"
    stack.loader.resume()


def test_the_server_that_is_not_there(stack):
    stack.server.stop()
    assert trouble(stack) == {"server": "warn"}
    port = free_port()
    stack.loader.settings["SLUICED_SERVE_LISTEN"] = f"127.0.0.1:{port}"
    assert trouble(stack) == {"server": "warn"}
    stack.server.settings["SLUICED_SERVE_LISTEN"] = f"127.0.0.1:{port}"
    stack.server.launch()
    wait_until(lambda: trouble(stack) == {}, 15, "it answers on TCP")
    # Somebody else's.
    stack.loader.settings["SLUICED_SERVE_LISTEN"] = f"unix:{stack.redis.socket_path}"
    assert "not sluiced serve" in message(stack, "server")


def test_postgres_that_is_away(stack):
    stack.postgres.stop()
    found = Checked(stack.loader)
    assert found.trouble["postgres_connection"] == "FAIL"
    stack.postgres.start()


def test_a_database_that_is_not_migrated(stack):
    connection = stack.postgres.connect("postgres")
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE latin ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'")
    connection.close()
    stack.postgres.make_database("empty")
    dsn = stack.loader.settings["SLUICED_POSTGRES_DSN"]
    stack.loader.settings["SLUICED_POSTGRES_DSN"] = dsn.replace("dbname=sluice", "dbname=empty")
    assert trouble(stack) == {"postgres_schema": "FAIL"}
    assert stack.loader.run("migrate").returncode == 0
    assert trouble(stack) == {"postgres_partitions": "warn"}
    stack.loader.settings["SLUICED_POSTGRES_DSN"] = dsn.replace("dbname=sluice", "dbname=latin")
    assert trouble(stack) == {"postgres_schema": "FAIL", "postgres_encoding": "FAIL"}


def test_postgres_that_is_set_to_less(stack):
    stack.allow("postgres would lose committed records")
    for name, value, found in (
        ("fsync", "off", {"postgres_fsync": "FAIL"}),
        ("full_page_writes", "off", {"postgres_full_page_writes": "FAIL"}),
        ("synchronous_commit", "off", {"postgres_synchronous_commit": "warn"}),
        ("lock_timeout", "'1s'", {"postgres_limits": "warn"}),
        ("idle_session_timeout", "'1h'", {"postgres_limits": "warn"}),
        ("default_transaction_read_only", "on", {"postgres_read_only": "FAIL"}),
    ):
        connection = stack.postgres.connect()
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute(f"ALTER SYSTEM SET {name} = {value}")
            cursor.execute("SELECT pg_reload_conf()")
            # The file is read when the postmaster gets round to it.
            wait_until(lambda: trouble(stack) == found, 10, f"{name}: {found}")
            cursor.execute(f"ALTER SYSTEM RESET {name}")
            cursor.execute("SELECT pg_reload_conf()")
        connection.close()
        wait_until(lambda: trouble(stack) == {}, 10, "all is well")


def test_a_standby(stack):
    stack.allow("postgres")
    stack.postgres.stop()
    signal_file = stack.postgres.data / "standby.signal"
    signal_file.touch()
    own(signal_file)
    stack.postgres.start()
    found = trouble(stack)
    assert found["postgres_recovery"] == "FAIL"
    stack.postgres.query("SELECT pg_promote()")
    wait_until(lambda: trouble(stack) == {}, 20, "it is a primary")


def test_a_wal_that_is_minimal(make_stack):
    stack = make_stack()
    stack.postgres.conf = stack.postgres.conf.replace("wal_level = replica",
                                                      "wal_level = minimal\nmax_wal_senders = 0")
    stack.start_loading()
    assert trouble(stack)["postgres_wal_level"] == "warn"


def test_rights_in_postgres(stack):
    connection = stack.postgres.connect()
    cursor = connection.cursor()
    for name, who in (("loader", "postgres"), ("reader", "postgres_reader")):
        cursor.execute(f"CREATE ROLE poor_{name} LOGIN")
        setting = f"SLUICED_POSTGRES_{name.upper()}_DSN"
        well, stack.loader.settings[setting] = stack.loader.settings[setting], f"user=poor_{name}"
        assert trouble(stack) == {f"{who}_rights": "FAIL"}
        # As it says, until nothing is lacking.
        statements = Checked(stack.loader).findings[f"{who}_rights"]["todo"].split("; ")
        assert len(statements) > 1
        for statement in statements:
            cursor.execute(statement)
        assert trouble(stack) == {}
        cursor.execute(f"REVOKE {'INSERT' if name == 'loader' else 'SELECT'} ON logs"
                       f" FROM poor_{name}")
        lacks = f"{'INSERT' if name == 'loader' else 'SELECT'} ON TABLE logs"
        assert f"role poor_{name} lacks {lacks} -> GRANT {lacks} TO poor_{name}" in message(
            stack, f"{who}_rights")
        cursor.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
        assert "USAGE ON SCHEMA public" in message(stack, f"{who}_rights")
        cursor.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
        stack.loader.settings[setting] = well
    connection.close()


def test_rights_that_a_reader_need_not_have(stack):
    connection = stack.postgres.connect()
    cursor = connection.cursor()
    cursor.execute("SELECT min(inhrelid::regclass::text) FROM pg_inherits"
                   " WHERE inhparent = 'logs'::regclass")
    (day,) = cursor.fetchone()
    for number, (grant, told) in enumerate((
        ("GRANT INSERT ON logs TO {}", "INSERT on logs"),
        ("GRANT UPDATE (message) ON logs TO {}", "UPDATE on logs"),
        ("GRANT DELETE ON counters TO {}", "DELETE on counters"),
        ("GRANT TRUNCATE ON ledger TO {}", "TRUNCATE on ledger"),
        (f"GRANT INSERT ON {day} TO {{}}", "INSERT on partitions of logs"),
        ("GRANT USAGE ON SEQUENCE log_id_blocks TO {}", "USAGE on log_id_blocks"),
        ("GRANT EXECUTE ON FUNCTION sluice_drop_day TO {}", "EXECUTE on sluice_drop_day"),
        ("GRANT CREATE ON SCHEMA public TO {}", "CREATE on schema public"),
        ("GRANT CREATE ON DATABASE sluice TO {}", "CREATE on the database"),
        ("GRANT pg_execute_server_program TO {}", "to be pg_execute_server_program"),
        ("GRANT sluice_loader TO {}", "to be sluice_loader"),
        ("ALTER ROLE {} CREATEROLE", "to create roles"),
        ("ALTER ROLE {} CREATEDB", "to create databases"),
        ("ALTER ROLE {} REPLICATION", "to replicate"),
        ("ALTER ROLE {} BYPASSRLS", "to bypass row security"),
        ("ALTER ROLE {} SUPERUSER", "it is a superuser"),
        # From here on everybody has them.
        ("GRANT SELECT ON idempotency TO PUBLIC", "SELECT on idempotency"),
        ("GRANT TEMPORARY ON DATABASE sluice TO PUBLIC", "TEMPORARY on the database"),
        ("GRANT EXECUTE ON FUNCTION lo_create TO PUBLIC", "to create large objects"),
        ("ALTER TABLE logs OWNER TO {}", "it owns the tables"),
    )):
        role = f"reader_{number}"
        cursor.execute(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON logs, counters, counters_hour,"
                       f" counters_day, devices TO {role}")
        stack.loader.settings["SLUICED_POSTGRES_READER_DSN"] = f"user={role}"
        if "PUBLIC" not in grant and "OWNER" not in grant:
            assert trouble(stack) == {}
        cursor.execute(grant.format(role))
        found = Checked(stack.loader)
        assert found.trouble["postgres_reader_excess"] == "warn", grant
        assert told in found.findings["postgres_reader_excess"]["what"]
        assert role in found.findings["postgres_reader_excess"]["todo"] or "SUPERUSER" in grant \
            or "OWNER" in grant
    connection.close()


def test_a_loader_that_may_do_everything(stack):
    """One user for all is what a first try looks like."""
    for name in ("LOADER", "READER", "MIGRATOR"):
        stack.loader.settings[f"SLUICED_POSTGRES_{name}_DSN"] = ""
    stack.loader.settings["SLUICED_POSTGRES_DSN"] += " user=sluice"
    assert trouble(stack) == {"postgres_excess": "warn", "postgres_reader_excess": "warn"}
    assert 'postgres.loader_dsn = "user=sluice_loader"' in message(stack, "postgres_excess")


def test_a_reader_that_cannot_log_in(stack):
    stack.loader.settings["SLUICED_POSTGRES_READER_DSN"] = "user=nobody password=secret"
    assert trouble(stack) == {"postgres_reader_connection": "FAIL"}
    assert "nobody" in message(stack, "postgres_reader_connection")
    assert "secret" not in json.dumps(Checked(stack.loader).findings)


def test_a_migrator_that_cannot_log_in(stack):
    stack.loader.settings["SLUICED_POSTGRES_MIGRATOR_DSN"] = "user=nobody password=secret"
    assert trouble(stack) == {"postgres_migrator_connection": "warn"}
    assert "nobody" in message(stack, "postgres_migrator_connection")
    assert "secret" not in json.dumps(Checked(stack.loader).findings)
    stack.loader.settings["SLUICED_POSTGRES_MIGRATOR_DSN"] = ""
    stack.loader.settings["SLUICED_POSTGRES_MIGRATOR_PASSWORD_FILE"] = "/nowhere"
    assert "/nowhere: No such file" in message(stack, "postgres_migrator_connection")


def test_who_owns_the_tables(stack):
    stack.loader.settings["SLUICED_POSTGRES_MIGRATOR_DSN"] = "user=sluice_loader"
    assert trouble(stack) == {"postgres_owner": "FAIL"}
    assert 'postgres.migrator_dsn = "user=sluice_migrator"' in message(stack, "postgres_owner")
    stack.loader.settings["SLUICED_POSTGRES_MIGRATOR_DSN"] = "user=sluice_migrator"
    connection = stack.postgres.connect()
    connection.cursor().execute("ALTER TABLE logs OWNER TO sluice")
    assert "to somebody else" in message(stack, "postgres_owner")
    connection.cursor().execute("ALTER FUNCTION sluice_drop_day OWNER TO sluice")
    assert "who may not change them" not in message(stack, "postgres_owner")
    connection.close()


def test_a_password_that_everybody_may_read(stack):
    stack.allow("redis refused (loader|reader) AUTH")
    path = stack.folder / "password"
    path.write_text("secret\n")
    for name in ("REDIS_PASSWORD_FILE", "REDIS_READER_PASSWORD_FILE",
                 "POSTGRES_READER_PASSWORD_FILE"):
        path.chmod(0o644)
        stack.loader.settings = {**stack.loader.settings, f"SLUICED_{name}": str(path)}
        assert message(stack, "settings_password_files").endswith(f"-> chmod o-rwx {path}")
        path.chmod(0o640)
        assert "settings_password_files" not in trouble(stack)


def test_partitions_that_are_missing(stack):
    connection = stack.postgres.connect()
    cursor = connection.cursor()
    stack.loader.stop()
    cursor.execute("SELECT to_char(now() + interval '1 day', '\"logs_\"YYYYMMDD')")
    (tomorrow,) = cursor.fetchone()
    cursor.execute(f"DROP TABLE {tomorrow}")
    connection.close()
    wait_until(lambda: trouble(stack) == {"postgres_partitions": "warn", "loader": "warn"}, 10)
    assert message(stack, "postgres_partitions").split(" -> ")[0].endswith(f"yet: {tomorrow}")


def test_messages_of_servers_cannot_drive_the_terminal(stack):
    stack.loader.settings["SLUICED_POSTGRES_DSN"] = (
        f"host={stack.folder} dbname='a\x1b[31m\u202eb'")
    said = stack.loader.run("check")
    assert "FAIL" in said.stdout and "\\x1b[31m" in said.stdout
    assert "\x1b" not in said.stdout and "\u202e" not in said.stdout
