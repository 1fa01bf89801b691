"""Several Postgres servers in one connection string, and TLS on the way to them."""

import json
import os
import re
import shutil
import socket
import subprocess
import time

import pytest

from harness.exact import check_exact
from harness.load import Load
from harness.postgres_server import BIN, PostgresServer, as_user, own
from harness.waiting import free_port, wait_until


def check(stack):
    said = stack.loader.run("check", "--json")
    return {finding["check"]: finding for finding in json.loads(said.stdout)["findings"]}


class Silent:
    """Something that takes connections in a folder where Postgres should, and says nothing."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder = folder
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(folder / ".s.PGSQL.5432"))
        self.socket.listen(64)


def make_standby(stack):
    """A copy of the running Postgres that streams what it does, in a folder of its own."""
    folder = stack.folder / "standby"
    for name in ("app/conf", "log"):
        (folder / name).mkdir(parents=True)
    standby = PostgresServer(folder)
    standby.data.mkdir(mode=0o700)
    own(folder)
    own(standby.data)
    subprocess.run(as_user(BIN / "pg_basebackup", "-h", stack.folder, "-U", "sluice", "-D",
                           standby.data, "-R", "-c", "fast"), check=True, cwd="/")
    stack.parts.append(standby)
    return standby


def log_in_to(stack, *folders, more=""):
    """From the next start on."""
    for part in (stack.loader, stack.server):
        part.settings["SLUICED_POSTGRES_DSN"] = (
            f"host={','.join(map(str, folders))} dbname=sluice {more}")


@pytest.fixture
def pair(make_stack):
    """A primary and a standby that has all that was committed; loader and server know both."""
    stack = make_stack()
    stack.postgres.start()
    stack.standby = make_standby(stack)
    stack.standby.start()
    cursor = stack.postgres.connect().cursor()
    cursor.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    cursor.execute("SELECT pg_reload_conf()")
    wait_until(lambda: stack.postgres.value(
        "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"), 15, "it streams")
    log_in_to(stack, stack.standby.folder, stack.folder)
    return stack


def start_rest(stack):
    for part in (stack.redis, stack.loader, stack.server, stack.nginx):
        part.start()
    stack.wait_healthy()
    return stack


def servers_of(stack, name):
    """Which of the two a part is connected to."""
    sql = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'"
    return [server for server in (stack.postgres, stack.standby) if server.value(sql)]


def test_exactly_once_through_a_failover(pair):
    """The primary dies under load, and the standby becomes one."""
    start_rest(pair)
    load = Load(pair)
    load.wait_answered(300)
    assert servers_of(pair, "sluiced-load") == [pair.postgres]
    pair.postgres.kill()
    load.wait_answered(100)
    # It runs, and can be read from, but the loader does not take it for the one to write to.
    pair.wait_health("degraded")
    wait_until(lambda: "session is read-only" in pair.loader.log_text(), 15, "the loader looks")
    pair.standby.query("SELECT pg_promote()")
    pair.postgres = pair.standby
    load.wait_answered(300)
    load.stop()
    assert pair.api().logs("load").status == 200
    acknowledged = load.answered
    assert pair.rows() == acknowledged
    check_exact(pair, [message for message, in pair.postgres.query("SELECT message FROM logs")])


def test_a_reader_may_prefer_a_standby(pair):
    log_in_to(pair, pair.folder, pair.standby.folder)
    pair.server.settings["SLUICED_POSTGRES_READER_DSN"] += " target_session_attrs=prefer-standby"
    pair.loader.settings["SLUICED_POSTGRES_READER_DSN"] += " target_session_attrs=prefer-standby"
    start_rest(pair)
    api = pair.api()
    assert api.log().status == 200
    pair.wait_rows(1)
    wait_until(lambda: api.logs("pump-7", "?limit=77").json.get("total") == 1, 10)
    # It has looked at the primary first, where its backend may still be on its way out.
    wait_until(lambda: servers_of(pair, "sluiced-serve") == [pair.standby], 10, "it reads there")
    assert servers_of(pair, "sluiced-load") == [pair.postgres]
    found = check(pair)
    assert found["postgres_reader_rights"]["verdict"] == "ok"
    assert found["postgres_recovery"]["verdict"] == "ok"
    # Without the standby the primary will do. Commits are not to wait for it any more, or the loader
    # would be kept from leaving by what it still has to say of devices.
    cursor = pair.postgres.connect().cursor()
    cursor.execute("ALTER SYSTEM RESET synchronous_standby_names")
    cursor.execute("SELECT pg_reload_conf()")
    wait_until(lambda: pair.postgres.value("SHOW synchronous_standby_names") == "", 15, "none is waited for")
    pair.standby.stop()
    wait_until(lambda: api.logs("pump-7", "?limit=78").status == 200, 15)
    assert pair.postgres.value(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sluiced-serve'")


def test_migrating_looks_for_the_primary(pair):
    pair.postgres.query("DROP TABLE imports; DELETE FROM schema_migrations WHERE version = 4"
                        " RETURNING 1")
    done = pair.loader.run("migrate")
    assert done.returncode == 0, done.stderr
    assert pair.postgres.value("SELECT count(*) FROM imports") == 0


def test_a_host_that_says_nothing_is_left_for_the_next(make_stack):
    stack = make_stack()
    silent = Silent(stack.folder / "silent")
    log_in_to(stack, silent.folder, stack.folder / "nowhere", stack.folder,
              more="connect_timeout=2")
    stack.start()
    assert stack.api().log().status == 200
    stack.wait_rows(1)
    found = check(stack)
    assert found["postgres_connection"]["verdict"] == "ok"
    # And where nobody else is, it does not take for ever.
    log_in_to(stack, silent.folder, silent.folder, more="connect_timeout=2")
    found = check(stack)
    assert found["postgres_connection"]["verdict"] == "FAIL"
    assert "timeout expired" in found["postgres_connection"]["what"]


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], check=True, cwd=folder, capture_output=True)


def make_authority(folder, name):
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key",
            "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}")


def own_address():
    """An address of this machine that is not its loopback; None if there is no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = probe.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


PASSWORDS = {"sluice_loader": "loaders-secret", "sluice_reader": "readers-secret",
             "sluice_migrator": "migrators-secret"}


@pytest.fixture
def secure(make_stack):
    """Postgres takes TLS and passwords on an address of this machine, which stand in files: of the
    reader one as libpq has them, of the others a line."""
    stack = make_stack()
    stack.address = own_address() or "127.0.0.1"
    folder = stack.folder / "tls"
    folder.mkdir()
    make_authority(folder, "right")
    make_authority(folder, "wrong")
    openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out",
            "server.csr", "-subj", "/CN=postgres")
    (folder / "names").write_text(f"subjectAltName=IP:{stack.address}\n")
    openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", "right.pem", "-CAkey", "right.key",
            "-CAcreateserial", "-out", "server.pem", "-days", "2", "-extfile", "names")
    own(folder / "server.key")
    os.chmod(folder / "server.key", 0o600)
    stack.postgres.port = free_port()
    stack.postgres.conf = stack.postgres.conf.replace(
        "listen_addresses = ''", f"listen_addresses = '{stack.address}'")
    stack.postgres.conf += (f"\nport = {stack.postgres.port}\nssl = on\n"
                            f"ssl_cert_file = '{folder}/server.pem'\n"
                            f"ssl_key_file = '{folder}/server.key'\n")
    stack.postgres.hba += f"host all all {stack.address}/32 scram-sha-256\n"
    stack.postgres.start()
    for role, password in PASSWORDS.items():
        stack.postgres.connect().cursor().execute(f"ALTER ROLE {role} PASSWORD '{password}'")
        (folder / role).write_text(f"{password}\n")
        os.chmod(folder / role, 0o600)
    (folder / "passfile").write_text(f"*:*:*:sluice_reader:{PASSWORDS['sluice_reader']}\n")
    os.chmod(folder / "passfile", 0o600)
    for part in (stack.loader, stack.server):
        part.settings |= {
            "SLUICED_POSTGRES_LOADER_PASSWORD_FILE": f"{folder}/sluice_loader",
            "SLUICED_POSTGRES_MIGRATOR_PASSWORD_FILE": f"{folder}/sluice_migrator",
            "SLUICED_POSTGRES_READER_DSN": f"user=sluice_reader passfile={folder}/passfile",
        }
    trust(stack, "right")
    return stack


def trust(stack, authority, mode="verify-full", host=None):
    for part in (stack.loader, stack.server):
        part.settings["SLUICED_POSTGRES_DSN"] = (
            f"host={host or stack.address} port={stack.postgres.port} dbname=sluice"
            f" sslmode={mode} sslrootcert={stack.folder}/tls/{authority}.pem")


def test_all_of_it_by_tls(secure):
    start_rest(secure)
    assert secure.loader.run("migrate").returncode == 0
    assert secure.api().log().status == 200
    secure.wait_rows(1)
    wait_until(lambda: secure.api().logs("pump-7", "?limit=77").json.get("total") == 1, 10)
    assert secure.postgres.query(
        "SELECT DISTINCT usename::text, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
        " WHERE application_name IN ('sluiced-load', 'sluiced-serve') ORDER BY 1") == [
        ("sluice_loader", True), ("sluice_reader", True)]
    found = check(secure)
    for name in ("postgres_tls", "postgres_reader_tls"):
        assert found[name]["verdict"] == "ok"
        assert "TLS" in found[name]["what"] or own_address() is None
    for part in (secure.loader, secure.server):
        with open(f"/proc/{part.pid}/cmdline", encoding="ascii") as line, \
                open(f"/proc/{part.pid}/environ", encoding="utf-8") as environment:
            told = part.log_text() + line.read() + environment.read()
        assert not [password for password in PASSWORDS.values() if password in told]


def test_a_server_of_another_authority_is_told_in_one_line(secure):
    trust(secure, "wrong")
    secure.redis.start()
    began = time.monotonic()
    secure.loader.start()
    wait_until(lambda: "certificate verify failed" in secure.loader.log_text(), 10)
    # It is tried again, and told so each second.
    lines = [line for line in secure.loader.log_text().splitlines() if "certificate" in line]
    assert len(lines) <= 1 + (time.monotonic() - began)
    assert all("postgres failed, trying again" in line for line in lines)
    done = secure.loader.run("migrate")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "certificate verify failed" in done.stderr
    said = secure.loader.run("check").stdout
    failed = [line for line in said.splitlines() if line.startswith("FAIL  postgres")]
    assert len(failed) == 1 and "certificate verify failed" in failed[0]
    # And it was not asked for anything.
    assert secure.postgres.value("SELECT count(*) FROM pg_stat_activity"
                                 " WHERE application_name LIKE 'sluiced%'") == 0


def test_a_server_of_another_name_is_not_trusted(secure):
    secure.postgres.stop()
    secure.postgres.conf = secure.postgres.conf.replace(
        f"listen_addresses = '{secure.address}'", f"listen_addresses = '{secure.address},127.0.0.2'")
    secure.postgres.start()
    trust(secure, "right", host="127.0.0.2")
    done = secure.loader.run("migrate")
    assert done.returncode == 1
    assert re.search(r"certificate for .* does not match host name", done.stderr), done.stderr


@pytest.mark.skipif(own_address() is None, reason="this machine has no address but its loopback")
def test_what_others_could_read_on_its_way_is_told(secure):
    secure.redis.start()
    secure.loader.start()
    trust(secure, "right", mode="disable")
    found = check(secure)
    for name in ("postgres_tls", "postgres_reader_tls"):
        assert found[name]["verdict"] == "warn"
        assert "without TLS" in found[name]["what"]
        assert "sslmode=verify-full" in found[name]["todo"]
    trust(secure, "right", mode="require")
    found = check(secure)
    # With a sslrootcert libpq does more than require says; whose name it is it does not look at.
    assert found["postgres_tls"]["verdict"] == "warn"
    assert "not checked" in found["postgres_tls"]["what"]
    assert found["redis_tls"]["verdict"] == "ok"
    port = free_port()
    secure.redis.stop()
    secure.redis.conf = secure.redis.conf.replace(
        "\nport 0\n", f"\nport {port}\nbind {secure.address}\nprotected-mode no\n")
    secure.redis.start()
    secure.loader.settings["SLUICED_REDIS_URL"] = f"redis://loader@{secure.address}:{port}"
    found = check(secure)
    assert found["redis_tls"]["verdict"] == "warn"
    assert "without TLS" in found["redis_tls"]["what"]


def test_wrong_passwords_and_files_are_told_without_them(secure):
    folder = secure.folder / "tls"
    secure.redis.start()
    (folder / "sluice_loader").write_text("another-secret\n")
    found = check(secure)["postgres_connection"]
    assert "password authentication failed" in found["what"]
    assert "secret" not in json.dumps(found)
    (folder / "sluice_loader").unlink()
    found = check(secure)["postgres_connection"]
    assert f"{folder}/sluice_loader: No such file" in found["what"]
    shutil.copy(folder / "sluice_migrator", folder / "sluice_loader")
    done = secure.loader.run("migrate")
    assert done.returncode == 0 and "secret" not in done.stderr
    secure.loader.settings["SLUICED_POSTGRES_LOADER_DSN"] = "postgresql://u:a-secret@[::1/x"
    done = secure.loader.run("check")
    assert "secret" not in done.stdout + done.stderr and done.returncode == 1
