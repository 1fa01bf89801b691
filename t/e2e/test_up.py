"""scripts/up and scripts/down, as a user runs them, on a free port and in a state folder of their
own. What runs is the release build with Debian's nginx."""

import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import tempfile

import psycopg2
import pytest

from harness.api import Api
from harness.build import LOGS_OF_FAILED, ROOT
from harness.process import processes_of_group
from harness.waiting import free_port, wait_until

# They share an installation.
pytestmark = pytest.mark.xdist_group("up")

PARTS = ("nginx", "redis", "postgres", "sluiced-load", "sluiced-serve")


class Installation:
    def __init__(self):
        parent = pathlib.Path(tempfile.mkdtemp(prefix="sluice-up-", dir="/tmp"))
        os.chmod(parent, 0o755)
        self.parent = parent
        self.state = parent / "state"
        self.port = free_port()

    def run(self, script, *arguments, **environment):
        """The script's exit status and all it said."""
        done = subprocess.run(
            [ROOT / "scripts" / script, *arguments],
            env={**os.environ, "SLUICE_STATE": str(self.state),
                 "SLUICE_LISTEN": f"127.0.0.1:{self.port}", "SLUICE_WORKERS": "2", **environment},
            cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=600,
        )
        return done.returncode, done.stdout

    def up(self, **environment):
        status, said = self.run("up", **environment)
        assert status == 0, said
        return said

    def pid(self, part):
        try:
            return int((self.state / f"{part}.pid").read_text().split()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return None

    def pids(self):
        return {part: self.pid(part) for part in PARTS}

    def health(self):
        api = Api(self.port, timeout=5)
        try:
            return api.health().json["status"]
        except (OSError, json.JSONDecodeError):
            return None
        finally:
            api.close()

    def wait_healthy(self):
        """Each worker of nginx finds out by itself, and scripts/up has asked one of them."""
        wait_until(lambda: self.health() == "healthy", 5, "all workers are healthy")

    def post(self, count):
        """Of what was killed each worker of nginx finds out by itself that it is back."""
        api = Api(self.port)
        for number in range(count):
            wait_until(lambda: api.log(message=f"{number}").status == 200, 10, "it is taken")
        api.close()

    def can_query(self):
        try:
            return self.rows() >= 0
        except psycopg2.OperationalError:
            return False

    def query(self, sql):
        # As plain `psql -h $SLUICE_STATE sluice` would: as whoever runs this.
        connection = psycopg2.connect(
            host=str(self.state), dbname="sluice", user=pwd.getpwuid(os.geteuid()).pw_name
        )
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def rows(self):
        return self.query("SELECT count(*) FROM logs")[0][0]

    def processes(self):
        """Living processes with the state folder in their command line."""
        found = []
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and str(self.state).encode() in pathlib.Path(
                    f"/proc/{name}/cmdline"
                ).read_bytes():
                    found.append(int(name))
            except OSError:
                pass
        return found


@pytest.fixture(scope="module")
def the_installation():
    made = Installation()
    try:
        yield made
        made.run("down")
        assert not made.processes()
    finally:
        for pid in made.processes():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(made.parent, ignore_errors=True)


@pytest.fixture
def installation(request, the_installation):
    yield the_installation
    if getattr(request.node, "failed", False) and (the_installation.state / "log").exists():
        kept = LOGS_OF_FAILED / f"test_up-{request.node.originalname}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(the_installation.state / "log", kept)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_up_serves_and_says_where(installation):
    said = installation.up()
    assert f"http://127.0.0.1:{installation.port}" in said
    assert f"{installation.state}/log/" in said
    installation.wait_healthy()
    for part in PARTS:
        assert is_alive(installation.pid(part)), part
    installation.post(5)
    wait_until(lambda: installation.rows() == 5, 10, "5 rows are in Postgres")
    api = Api(installation.port)
    page = api.get("/metrics/daemon").body
    api.close()
    assert b"sluice_loader_rows_total{" in page and b"sluice_http_requests_total" in page


def test_sluiced_with_the_settings_of_what_is_up(installation):
    assert "scripts/sluiced check" in installation.up()
    status, said = installation.run("sluiced", "check")
    assert status == 0 and "FAIL" not in said and "warn" not in said, said
    status, said = installation.run("sluiced", "--version")
    assert status == 0 and said.startswith("sluiced ")
    status, said = installation.run("sluiced", "check", SLUICE_STATE=str(installation.parent))
    assert status == 1 and "run scripts/up first" in said


def redis_users(installation):
    """As whom each is logged in, by its name."""
    return dict(re.findall(r"name=(\S*) .*\buser=(\S+)",
                           redis_cli(installation, "CLIENT", "LIST")))


def redis_cli(installation, *words, user="operator", secret=None):
    """As a human would, with the password in the file; what Redis says."""
    password = secret or (installation.state / "secrets" / f"redis-{user}").read_text()
    return subprocess.run(
        ["redis-cli", "-s", installation.state / "redis.sock", "--user", user, *words],
        env={**os.environ, "REDISCLI_AUTH": password}, capture_output=True, text=True,
    ).stdout.strip()


def test_each_part_has_rights_of_its_own(installation):
    installation.up()
    users = redis_users(installation)
    assert users["sluiced-load"] == "loader" and users["sluiced-serve"] == "reader"
    assert {user for name, user in users.items() if name.startswith("sluice-edge-")} == {"edge"}
    said = subprocess.run(["redis-cli", "-s", installation.state / "redis.sock", "PING"],
                          capture_output=True, text=True).stdout
    assert "NOAUTH" in said
    assert "NOAUTH" in redis_cli(installation, "PING", user="default", secret="x")
    assert "NOPERM" in redis_cli(installation, "DEL", "logs:stream", user="loader")
    assert "NOPERM" in redis_cli(installation, "XREVRANGE", "logs:stream", "+", "-", user="edge")
    assert "NOPERM" in redis_cli(installation, "XREVRANGE", "logs:stream", "+", "-", user="reader")
    assert redis_cli(installation, "ACL", "LOG", "RESET") == "OK"
    Api(installation.port).logs("pump-7")
    assert installation.query(
        "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE application_name"
        " IN ('sluiced-load', 'sluiced-serve') ORDER BY 1") == [("sluice_loader",),
                                                                ("sluice_reader",)]
    assert installation.query("SELECT tableowner FROM pg_tables WHERE tablename = 'logs'") == [
        ("sluice_migrator",)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has users to give it to")
def test_secrets_are_for_those_who_need_them(installation):
    installation.up()
    secrets = installation.state / "secrets"
    modes = {path.name: (path.owner(), path.group(), oct(path.stat().st_mode & 0o777))
             for path in (secrets, *secrets.iterdir())}
    assert modes == {
        "secrets": ("root", "sluice", "0o750"),
        "redis-edge": ("root", "root", "0o600"),
        "redis-loader": ("root", "sluice", "0o640"),
        "redis-reader": ("root", "sluice", "0o640"),
        "redis-operator": ("root", "root", "0o600"),
    }
    assert len({path.read_text() for path in secrets.iterdir()}) == 4
    told = "".join(path.read_text(errors="replace") for folder in ("log", "app/conf")
                   for path in (installation.state / folder).iterdir() if path.is_file())
    for path in secrets.iterdir():
        assert path.read_text() not in told
    # The user that all of it runs as is a role with few rights in Postgres, and no superuser.
    for role, status in (("sluice_loader", 0), ("sluice", 2), ("root", 2), ("postgres", 2)):
        done = subprocess.run(
            ["setpriv", "--reuid", "sluice", "--regid", "sluice", "--init-groups", "psql", "-X",
             "-h", installation.state, "-U", role, "-d", "sluice", "-c", "SELECT 1"],
            cwd="/", capture_output=True, text=True)
        assert done.returncode == status, (role, done.stderr)


def test_up_sets_users_of_redis_without_a_restart(installation):
    installation.up()
    before = installation.pids()
    acl = installation.state / "app" / "conf" / "redis.acl"
    acl.write_text(acl.read_text().replace("+xlen", ""))
    assert redis_cli(installation, "ACL", "SETUSER", "edge", "-xlen") == "OK"
    assert "Restarting" not in installation.up()
    assert installation.pids() == before
    assert "NOPERM" not in redis_cli(installation, "XLEN", "logs:stream", user="edge")
    wait_until(lambda: installation.health() == "healthy", 20, "the edge sees it")


def test_up_from_before_the_server_had_a_user(installation):
    """While it runs: the server as the loader's user, who may ask what only the server asks."""
    installation.up()
    conf = installation.state / "app" / "conf"
    acl = (conf / "redis.acl").read_text()
    acl = re.sub(r"(?m)^user reader .*\n", "", acl).replace(" +eval ", " +eval +multi +exec ")
    (conf / "redis.acl").write_text(acl)
    settings = (conf / "settings").read_text()
    (conf / "settings").write_text(re.sub(r"(?m)^export SLUICED_REDIS_READER_.*\n", "", settings))
    (installation.state / "secrets" / "redis-reader").unlink()
    assert redis_cli(installation, "ACL", "SETUSER", "loader", "+multi", "+exec") == "OK"
    assert redis_cli(installation, "ACL", "DELUSER", "reader") == "1"
    old = installation.pid("sluiced-serve")
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: redis_users(installation).get("sluiced-serve") == "loader", 20)

    said = installation.up()
    assert re.findall(r"Restarting (\S+)", said) == ["sluiced-load", "sluiced-serve"]
    wait_until(lambda: redis_users(installation).get("sluiced-serve") == "reader", 20)
    wait_until(lambda: redis_users(installation).get("sluiced-load") == "loader", 20)
    assert "NOPERM" in redis_cli(installation, "MULTI", user="loader")
    status, said = installation.run("sluiced", "check")
    assert status == 0 and "FAIL" not in said and "warn" not in said, said


def test_up_from_before_there_were_users(installation):
    """A state folder as it was left: one user for everything, and no secrets."""
    installation.up()
    rows = installation.rows()
    installation.query("DO $$ DECLARE t text; BEGIN FOR t IN SELECT oid::regclass::text FROM pg_class"
                       " WHERE relowner = 'sluice_migrator'::regrole AND relkind IN ('r', 'p', 'S')"
                       " AND relname !~ 'id_seq' LOOP EXECUTE 'ALTER TABLE ' || t || ' OWNER TO"
                       " sluice'; END LOOP; END $$")
    installation.query("ALTER TYPE log_level OWNER TO sluice")
    installation.query("DO $$ DECLARE f text; BEGIN FOR f IN SELECT oid::regprocedure FROM pg_proc"
                       " WHERE proname ~ '^sluice_' LOOP EXECUTE 'DROP FUNCTION ' || f || ' CASCADE';"
                       " END LOOP; END $$")
    installation.query("DROP TABLE counters_hour, counters_day, devices")
    installation.query("DROP INDEX logs_device_page, logs_level_page")
    installation.query("CREATE INDEX logs_device ON logs (device_id, created_at DESC, id DESC)")
    installation.query("CREATE INDEX logs_created_at ON logs USING brin (created_at)")
    installation.query("DELETE FROM schema_migrations WHERE version >= 5")
    for role in ("sluice_loader", "sluice_reader", "sluice_migrator"):
        installation.query(f"DROP OWNED BY {role}")
        installation.query(f"DROP ROLE {role}")
    assert installation.run("down")[0] == 0
    shutil.rmtree(installation.state / "secrets")
    conf = installation.state / "app" / "conf"
    (conf / "redis.acl").unlink()
    redis_conf = (conf / "redis.conf").read_text()
    assert "\naclfile " in redis_conf
    (conf / "redis.conf").write_text(re.sub(r"\naclfile .*", "", redis_conf))
    installation.up()
    status, said = installation.run("sluiced", "check")
    assert status == 0 and "FAIL" not in said and "warn" not in said, said
    installation.post(2)
    wait_until(lambda: installation.rows() == rows + 2, 20, "2 more rows are in Postgres")


def test_up_again_is_harmless(installation):
    installation.up()
    before = installation.pids()
    said = installation.up()
    assert "Restarting" not in said
    assert installation.pids() == before


def test_up_restarts_what_changed(installation):
    installation.up()
    before = installation.pids()
    said = installation.up(SLUICE_WORKERS="1")
    assert "Restarting nginx" in said
    after = installation.pids()
    assert [part for part in PARTS if after[part] != before[part]] == ["nginx"]
    installation.up()


@pytest.mark.parametrize("part", PARTS)
def test_whatever_is_killed_comes_back(installation, part):
    installation.up()
    old = installation.pid(part)
    os.kill(old, signal.SIGKILL)

    def is_back():
        new = installation.pid(part)
        is_new = new not in (None, old) and is_alive(new)
        return is_new and installation.health() == "healthy" and installation.can_query()

    wait_until(is_back, 30, f"{part} is back")
    rows = installation.rows()
    installation.post(3)
    wait_until(lambda: installation.rows() == rows + 3, 20, "3 more rows are in Postgres")


def test_nothing_is_left_of_a_killed_nginx(installation):
    installation.up()
    old = installation.pid("nginx")
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: installation.pid("nginx") not in (None, old), 20, "a new nginx")
    assert not processes_of_group(old)


def test_up_after_supervisor_was_killed(installation):
    installation.up()
    os.kill(installation.pid("supervisord"), signal.SIGKILL)
    installation.up()
    installation.wait_healthy()


def test_a_port_in_use_is_told(installation):
    installation.up()
    other = Installation()
    try:
        status, said = other.run("up", SLUICE_LISTEN=f"127.0.0.1:{installation.port}")
        assert status != 0
        assert f"cannot listen on 127.0.0.1:{installation.port}" in said
        assert "SLUICE_LISTEN" in said
        assert not other.processes()
    finally:
        shutil.rmtree(other.parent, ignore_errors=True)


def test_bad_settings_are_told(installation):
    for environment, words in (
        ({"SLUICE_LISTEN": "nowhere"}, "SLUICE_LISTEN"),
        ({"SLUICE_LISTEN": "127.0.0.1:99999"}, "1 to 65535"),
        ({"SLUICE_WORKERS": "many"}, "SLUICE_WORKERS"),
        ({"SLUICE_REDIS": "redis://h"}, "SLUICE_REDIS is set, but nothing is known of it"),
        ({"SLUICE_STATE": "/tmp/" + "x" * 100}, "too long"),
        ({"SLUICE_STATE": str(ROOT)}, "something else in it"),
    ):
        status, said = installation.run("up", **environment)
        assert status != 0 and words in said, said


def test_what_nginx_refuses_does_not_replace_what_runs(installation):
    conf = installation.state / "app" / "conf" / "nginx.conf"
    before = conf.read_text()
    status, said = installation.run("up", SLUICE_REDIS_URL="localhost",
                                    SLUICE_LISTEN=f"127.0.0.1:{free_port()}")
    assert status != 0 and "nginx refuses its configuration" in said
    assert conf.read_text() == before
    installation.wait_healthy()


def test_its_own_nginx_has_the_port_whatever_its_configuration_says(installation):
    """As after a run that was interrupted once it had replaced it."""
    conf = installation.state / "app" / "conf" / "nginx.conf"
    conf.write_text(conf.read_text().replace(f":{installation.port} ", f":{free_port()} "))
    installation.up()
    installation.wait_healthy()


def test_down_keeps_the_data_and_wipe_does_not(installation):
    installation.up()
    rows = installation.rows()
    status, said = installation.run("down")
    assert status == 0, said
    assert not installation.processes()
    installation.up()
    assert installation.rows() == rows
    status, said = installation.run("down", "--wipe")
    assert status == 0, said
    assert not installation.processes()
    assert not installation.state.exists()
    assert installation.run("down")[0] == 0, "nothing to stop is no error"
