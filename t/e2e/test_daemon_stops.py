"""SIGTERM: what was begun is finished, within a bound; a second one is obeyed at once. And what the
exit codes mean."""

import os
import signal
import subprocess
import time

import pytest

from harness import build
from harness.exact import Sent
from harness.waiting import wait_until

STOP_S = 8  # kStopMs
SOON_S = 10
AT_ONCE_S = STOP_S - 2


@pytest.fixture
def stack(make_stack):
    stack = make_stack()
    stack.sent = Sent(stack)
    return stack


class Lock:
    """A table that nobody else gets at, or may change."""

    def __init__(self, stack, table, mode="ACCESS EXCLUSIVE"):
        self.stack = stack
        self.connection = stack.postgres.connect()
        self.connection.autocommit = False
        self.connection.cursor().execute(f"LOCK TABLE {table} IN {mode} MODE")

    def wait_somebody_waits(self):
        wait_until(lambda: self.stack.postgres.value(
            "SELECT count(*) FROM pg_locks WHERE NOT granted") > 0, 15, "somebody waits for it")

    def release(self):
        self.connection.close()


@pytest.fixture
def loading(stack):
    """A loader in the midst of a transaction, until the lock is released."""
    stack.start_loading()
    stack.wait_partitions()
    stack.lock = Lock(stack, "counters")
    stack.sent.add(20)
    stack.lock.wait_somebody_waits()
    yield stack
    stack.lock.release()


def terminate(part):
    """When it was told."""
    began = time.monotonic()
    part.signal(signal.SIGTERM)
    return began


def ended(part, began):
    status = part.process.wait(STOP_S + SOON_S)
    return status, time.monotonic() - began


def test_what_was_read_is_stored_first(loading):
    """A read that was under way may bring it more, and these count as read. Then it reads no more."""
    began = terminate(loading.loader)
    wait_until(lambda: loading.loader.events("stopping: what was read is stored first"), 5)

    def reads_no_more():
        read = loading.redis.pending()
        loading.sent.add()
        time.sleep(0.3)
        return loading.redis.pending() == read

    wait_until(reads_no_more, 5, "it reads no more")
    loading.lock.release()
    status, _ = ended(loading.loader, began)
    acknowledged = loading.loader.events("loader stopped")[-1]["acknowledged"]
    assert (status, loading.redis.pending()) == (0, 0)
    assert loading.rows() == acknowledged * 3 and acknowledged >= 20
    loading.loader.start()
    loading.sent.check()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_is_obeyed_at_once(loading, second):
    loading.loader.signal(signal.SIGTERM)
    wait_until(lambda: loading.loader.events("stopping: what was read is stored first"), 5)
    loading.loader.signal(signal.SIGHUP)
    time.sleep(0.5)
    assert loading.loader.running, "SIGHUP is no signal to stop"
    began = time.monotonic()
    loading.loader.signal(second)
    status, took = ended(loading.loader, began)
    assert (status, took < AT_ONCE_S) == (1, True)
    loading.lock.release()
    loading.loader.start()
    loading.sent.check()


def test_who_cannot_finish_leaves_all_the_same(loading):
    status, took = ended(loading.loader, terminate(loading.loader))
    assert status == 1 and took > STOP_S - 0.1
    loading.lock.release()
    loading.loader.start()
    loading.sent.check()


@pytest.mark.parametrize("away", ["redis", "postgres"])
def test_a_store_that_hangs_does_not_keep_it(stack, away):
    stack.start_loading()
    stack.wait_partitions()
    store = getattr(stack, away)
    store.pause()
    time.sleep(0.5)
    ended(stack.loader, terminate(stack.loader))
    store.resume()
    stack.sent.add(3)
    stack.loader.start()
    stack.sent.check()


def test_a_redis_that_hangs_does_not_keep_the_server(stack):
    for part in (stack.redis, stack.postgres, stack.server):
        part.start()
    stack.redis.pause()
    until = time.monotonic() + 1.5
    wait_until(lambda: time.monotonic() > until, 5, "it has asked Redis")
    status, took = ended(stack.server, terminate(stack.server))
    stack.redis.resume()
    assert (status, took < AT_ONCE_S) == (0, True)


@pytest.mark.parametrize("second", [True, False])
def test_a_server_whose_query_does_not_end(stack, second):
    stack.server.settings["SLUICED_SERVE_QUERY_TIMEOUT_MS"] = "60000"
    for part in (stack.redis, stack.postgres, stack.server):
        part.start()
    lock = Lock(stack, "logs")
    connection = stack.server.connection()
    connection.request("GET", "/api/logs/d")
    lock.wait_somebody_waits()
    began = terminate(stack.server)
    wait_until(lambda: stack.server.events("stopping: answers under way are finished first"), 5)
    if second:
        began = terminate(stack.server)
    status, took = ended(stack.server, began)
    assert status == 1
    assert took < AT_ONCE_S if second else took > STOP_S - 0.1
    lock.release()
    stack.server.start()


def test_commands_end_at_once_and_do_nothing_by_halves(stack):
    """They finish nothing: what is not committed is not done."""
    for part in (stack.redis, stack.postgres):
        part.start()
    connection = stack.postgres.connect()
    connection.cursor().execute(
        "DROP TABLE imports; DELETE FROM schema_migrations WHERE name LIKE '%imports%'")
    connection.close()
    lock = Lock(stack, "schema_migrations", "EXCLUSIVE")
    stack.loader.before_start()
    command = subprocess.Popen(
        [build.SLUICED, "migrate", "--config", stack.loader.conf_path],
        env={**os.environ, **stack.loader.environment()}, stderr=subprocess.DEVNULL)
    lock.wait_somebody_waits()
    command.send_signal(signal.SIGTERM)
    assert command.wait(STOP_S + SOON_S) == -signal.SIGTERM
    lock.release()
    assert stack.postgres.value("SELECT to_regclass('imports')") is None
    assert stack.loader.run("migrate").returncode == 0


def test_exit_codes(stack):
    stack.redis.start()
    stack.postgres.start()
    stack.allow("pid file")
    stack.loader.start()
    again = stack.loader.run("load", "--pid-file", str(stack.loader.pid_path))
    assert again.returncode == 1
    assert '"level":"ERROR"' in again.stderr and "another one is running" in again.stderr
    for verb in ("load", "serve"):
        stack.loader.settings["SLUICED_LOAD_BATCH_ROWS"] = "many"
        wrong = stack.loader.run(verb)
        assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1, wrong.stderr
        assert '"message":"settings are wrong"' in wrong.stderr
    assert stack.loader.run("load", "--nothing").returncode == 2
