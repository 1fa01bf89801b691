"""SIGHUP: settings are read anew, and taken over as far as a running process can."""

import re
import signal
import time

import pytest

from harness.exact import Sent
from harness.sluiced import UnixConnection
from harness.waiting import wait_until

READ_ANEW = "settings are read anew"
RESTART = "changed settings need a restart"
WRONG = "settings are wrong: those from before stay"
FAILED = "redis failed, trying again"


@pytest.fixture
def stack(make_stack):
    stack = make_stack()
    stack.sent = Sent(stack)
    return stack


def edit(part, **values):
    """Settings by their keys, as all of these are in one section only."""
    for key, value in values.items():
        lines = part.conf.splitlines()
        at, = [number for number, line in enumerate(lines) if line.startswith(f"{key} = ")]
        lines[at] = f"{key} = {value}"
        part.conf = "\n".join(lines)
    part.before_start()


def reload(part, message=READ_ANEW):
    """What it says to that."""
    said = len(part.events(message))
    part.signal(signal.SIGHUP)
    wait_until(lambda: len(part.events(message)) > said, 10, message)
    return part.events(message)[-1]


def wait_restart(part, settings):
    """Until it has said of these that they need one, which it says behind the rest."""
    wait_until(lambda: [event["settings"] for event in part.events(RESTART)][-1:] == [settings], 5,
               f"{settings} need a restart")


def metrics(stack):
    connection = UnixConnection(stack.folder / "load.sock")
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode()


def test_what_can_be_changed_is_and_the_rest_is_named(stack):
    edit(stack.loader, batch_age_ms=60000)
    stack.start_loading()
    stack.sent.add(3)
    time.sleep(1)
    assert stack.rows() == 0, "the batch is not old enough"
    edit(stack.loader, batch_age_ms=0, consumers=2, name='"other"')
    assert reload(stack.loader)["changed"] == "load.batch_age_ms"
    stack.wait_rows(9)
    wait_restart(stack.loader, "load.name, load.consumers")
    restart, = stack.loader.events(RESTART)
    assert restart["level"] == "WARN"
    # As long as they differ, and only those.
    edit(stack.loader, consumers=1)
    assert reload(stack.loader)["changed"] == "nothing"
    wait_restart(stack.loader, "load.name")
    stack.sent.check()


def test_wrong_settings_change_nothing(stack):
    stack.allow(WRONG)
    stack.start_loading()
    edit(stack.loader, batch_rows=7, batch_age_ms='"never"')
    lines = len(stack.loader.log_text().splitlines())
    said = reload(stack.loader, WRONG)
    assert said["level"] == "ERROR"
    assert "sluiced.toml:" in said["error"] and "load.batch_age_ms is no whole number" in said["error"]
    stack.sent.add(5)
    stack.sent.check()
    stack.loader.conf_path.unlink()
    assert "cannot read" in reload(stack.loader, WRONG)["error"]
    assert not stack.loader.events(READ_ANEW)
    said = [line for line in stack.loader.log_text().splitlines()[lines:] if "settings" in line]
    assert len(said) == 2, "a line for each"
    edit(stack.loader, batch_age_ms=50)
    assert reload(stack.loader)["changed"] == "load.batch_rows"


def test_the_level_of_the_log(stack):
    stack.start_loading()
    # At its start Redis may not have been there yet.
    failed, back = (len(stack.loader.events(message)) for message in (FAILED, "redis is back"))
    # What needs a restart is a warning, which tells that it has read them.
    edit(stack.loader, level='"warn"', name='"other"')
    stack.loader.signal(signal.SIGHUP)
    wait_restart(stack.loader, "load.name")
    stack.redis.kill()
    wait_until(lambda: len(stack.loader.events(FAILED)) > failed, 10, FAILED)
    stack.redis.start()
    stack.sent.add(2)
    stack.sent.check()
    assert not stack.loader.events(READ_ANEW)
    assert len(stack.loader.events("redis is back")) == back
    edit(stack.loader, level='"info"')
    assert reload(stack.loader)["changed"] == "log.level"


def test_from_when_on_entries_are_taken_over(stack):
    edit(stack.loader, claim_idle_ms=86400000)
    stack.redis.start()
    stack.postgres.start()
    stack.redis.client.xgroup_create("logs:stream", "log_workers", "0", mkstream=True)
    stack.sent.add(3)
    stack.redis.client.xreadgroup("log_workers", "gone", {"logs:stream": ">"})
    stack.loader.start()
    stack.sent.add(1)
    stack.wait_rows(3)
    edit(stack.loader, claim_idle_ms=1000)
    assert reload(stack.loader)["changed"] == "load.claim_idle_ms"
    stack.wait_rows(12, timeout=40)


def test_for_how_long_logs_are_kept(stack):
    stack.start_loading()
    now_ms = int(time.time() * 1000)
    for days in (40, 0):
        stack.sent.add(t_ms=now_ms - days * 86400000)
    stack.wait_rows(6)
    # By now it has looked round, and has all it wants.
    wait_until(lambda: re.search(r"\nsluice_loader_tomorrow_partition\S* 1\n", metrics(stack)), 30)
    edit(stack.loader, keep_days=30)
    assert reload(stack.loader)["changed"] == "storage.keep_days"
    wait_until(lambda: stack.rows() == 3, 8, "the old day is dropped")


def test_how_long_a_query_may_take(stack):
    for part in (stack.redis, stack.postgres, stack.server):
        part.start()

    def ask():
        connection = stack.server.connection()
        connection.timeout = 10
        connection.request("GET", "/api/logs/d")
        answer = connection.getresponse()
        return answer.status, answer.read()

    assert ask()[0] == 200
    edit(stack.server, query_timeout_ms=300, queue=1, workers=5, batch_rows=3)
    assert reload(stack.server)["changed"] == "serve.queue, serve.query_timeout_ms"
    wait_restart(stack.server, "serve.workers")
    lock = stack.postgres.connect()
    lock.autocommit = False
    lock.cursor().execute("LOCK TABLE logs IN ACCESS EXCLUSIVE MODE")
    began = time.monotonic()
    status, body = ask()
    assert status == 503 and b"query_timeout" in body
    assert time.monotonic() - began < 5, "the limit of before"
    lock.close()
    wait_until(lambda: ask()[0] == 200, 5, "there is time enough without the lock")


def test_a_password_that_changes_needs_no_signal(stack):
    password = stack.folder / "password"
    password.write_text("first\n")
    stack.redis.grant("loader", "resetpass >first")
    stack.loader.settings["SLUICED_REDIS_PASSWORD_FILE"] = str(password)
    stack.start_loading()
    stack.sent.add(2)
    stack.sent.check()
    # The keeper may log in just then, with the one or the other.
    stack.allow("redis refused loader AUTH: auth")
    password.write_text("second\n")
    stack.redis.client.acl_setuser("loader", enabled=True, reset_passwords=True, passwords=["+second"])
    for client in stack.redis.client.client_list():
        if client["name"] == "sluiced-load":
            stack.redis.client.client_kill_filter(_id=client["id"])
    stack.sent.add(2)
    stack.sent.check()
