"""scripts/up and scripts/down, as a user runs them, on a free port and in a state folder of their
own. What runs is the release build with Debian's nginx."""

import json
import os
import pathlib
import pwd
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

    def post(self, count):
        api = Api(self.port)
        for number in range(count):
            assert api.log(message=f"{number}").status == 200
        api.close()

    def can_query(self):
        try:
            return self.rows() >= 0
        except psycopg2.OperationalError:
            return False

    def rows(self):
        # As plain `psql -h $SLUICE_STATE sluice` would: as whoever runs this.
        connection = psycopg2.connect(
            host=str(self.state), dbname="sluice", user=pwd.getpwuid(os.geteuid()).pw_name
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM logs")
                return cursor.fetchone()[0]
        finally:
            connection.close()

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
def installation(request):
    made = Installation()
    failed_before = request.session.testsfailed
    try:
        yield made
        if request.session.testsfailed > failed_before and (made.state / "log").exists():
            shutil.rmtree(LOGS_OF_FAILED / "test_up", ignore_errors=True)
            shutil.copytree(made.state / "log", LOGS_OF_FAILED / "test_up")
        made.run("down")
        assert not made.processes()
    finally:
        for pid in made.processes():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(made.parent, ignore_errors=True)


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
    assert installation.health() == "healthy"
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
    assert installation.health() == "healthy"


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
    assert installation.health() == "healthy"


def test_its_own_nginx_has_the_port_whatever_its_configuration_says(installation):
    """As after a run that was interrupted once it had replaced it."""
    conf = installation.state / "app" / "conf" / "nginx.conf"
    conf.write_text(conf.read_text().replace(f":{installation.port} ", f":{free_port()} "))
    installation.up()
    assert installation.health() == "healthy"


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
