"""sluiced status: what it tells is what is there."""

import json
import socket
import threading
import time

import pytest

from harness import frames
from harness.exact import Sent
from harness.waiting import wait_until

RECORDS = 20
ROW = frames.row("x" * 200)
SMALL = {"SLUICED_LOAD_BATCH_ROWS": "1000"}


def status(stack, expected=0):
    done = stack.loader.run("status", "--json")
    assert done.stderr == "" and done.returncode == expected, (done.stderr, done.stdout)
    answer = json.loads(done.stdout)
    assert answer["ok"] is (expected == 0)
    return answer


def text(stack):
    return dict(line.split(maxsplit=1) for line in
                stack.loader.run("status").stdout.replace("dead letters", "dead").splitlines())


def add(stack, entries, **options):
    frames.add(stack.redis, [frames.frame([ROW] * RECORDS, **options) for _ in range(entries)])


@pytest.fixture
def stack(make_stack):
    return make_stack(load=SMALL).start_loading()


def wait_told(stack):
    wait_until(lambda: stack.redis.client.exists("logs:stream:loader"), 15, "the loader tells")


def test_a_quiet_day(stack):
    wait_told(stack)
    stack.wait_partitions()
    now = status(stack)
    assert now["redis"]["durability"] == "fsync"
    assert now["redis"]["maxmemory_bytes"] == 256 << 20
    assert now["redis"]["full_in_seconds"] is None
    assert now["loader"] == {"runs": True, "reaches_postgres": True}
    assert now["backlog"] == {"entries": 0, "records": 0, "bytes": 0, "oldest_seconds": None,
                              "gone_in_seconds": 0}
    assert now["intake_per_second"] == {"records": 0, "bytes": 0}
    assert (now["lag_seconds"], now["last_hour_records"], now["dead_letters"]) == (None, 0, 0)
    assert len(now["partitions"]) == 2 and now["ledger"]["partitions"] == 3
    shown = text(stack)
    assert shown["backlog"] == "nothing waits"
    assert "nothing comes in now" in shown["redis"]
    assert shown["dead"] == "none"


def test_what_waits_while_postgres_is_away(stack):
    wait_told(stack)
    stack.postgres.stop()
    before = time.time()
    add(stack, 100)
    after = time.time()
    wait_until(lambda: stack.redis.client.hget("logs:stream:loader", "backlog_entries") == b"100",
               15, "the loader tells of them")
    least = time.time() - after
    now = status(stack, 1)
    most = time.time() - before
    assert now["loader"] == {"runs": True, "reaches_postgres": False}
    assert now["postgres"]["error"]
    size = (len(ROW) + 1) * RECORDS
    assert now["backlog"]["entries"] == 100
    assert now["backlog"]["records"] == 100 * RECORDS
    assert now["backlog"]["bytes"] == 100 * size
    assert now["backlog"]["gone_in_seconds"] is None
    assert least - 0.1 < now["backlog"]["oldest_seconds"] < most + 0.1
    assert "cannot reach Postgres" in text(stack)["loader"]
    stack.postgres.start()
    stack.wait_drained()
    now = status(stack)
    assert now["last_hour_records"] == 100 * RECORDS == stack.rows()
    assert least < now["lag_seconds"] < time.time() - before
    assert now["drain_per_second"]["records"] > 0
    assert now["intake_per_second"] == {"records": 0, "bytes": 0}
    names = {day["name"] for day in now["partitions"]}
    assert time.strftime("logs_%Y%m%d", time.gmtime()) in names
    assert sum(day["bytes"] for day in now["partitions"]) > 0


@pytest.mark.parametrize("delivered", [0, 60])
def test_what_waits_without_a_loader_is_counted_all_the_same(stack, delivered):
    sent = Sent(stack)
    sent.add()
    stack.wait_drained()
    stack.loader.stop()
    wait_until(lambda: not stack.redis.client.exists("logs:stream:loader"), 15)
    add(stack, 50, t_ms=int(time.time() * 1000) - 3600 * 1000)
    add(stack, 50)
    if delivered:
        # Somebody read them and went away.
        stack.redis.client.xreadgroup("log_workers", "other", {"logs:stream": ">"}, delivered)
    now = status(stack, 1)
    assert now["loader"]["runs"] is False
    assert (now["backlog"]["entries"], now["backlog"]["records"]) == (100, 100 * RECORDS)
    assert 3600 <= now["backlog"]["oldest_seconds"] < 3700
    assert "none tells that it runs" in text(stack)["loader"]
    stack.redis.client.xgroup_destroy("logs:stream", "log_workers")
    assert status(stack, 1)["backlog"]["entries"] >= 100


@pytest.mark.alone
def test_how_long_redis_can_hold(stack):
    """At the rate that is told, Redis is full when that is told. Alone: the records come at a
    certain pace."""
    wait_told(stack)
    stack.postgres.stop()
    rate, stopping = 50, threading.Event()

    def feed():
        at = time.monotonic()
        while not stopping.is_set():
            add(stack, 1)
            at += 1 / rate
            stopping.wait(max(at - time.monotonic(), 0))

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        stack.redis.client.config_set("maxmemory", stack.redis.client.info()["used_memory"]
                                      + (64 << 20))
        now = status(stack, 1)
    finally:
        stopping.set()
        feeder.join()
    assert 0.7 * rate * RECORDS < now["intake_per_second"]["records"] < 1.3 * rate * RECORDS
    told = now["redis"]["full_in_seconds"]
    # As much as would have come in by then, at once.
    before = stack.redis.client.info()["used_memory"]
    per_second = now["intake_per_second"]["records"] / RECORDS
    for _ in range(10):
        add(stack, int(per_second * told / 100))
    grown = stack.redis.client.info()["used_memory"] - before
    assert 0.7 < grown * 10 / (64 << 20) < 1.4
    stack.postgres.start()
    stack.wait_drained()


def test_dead_letters_and_durability(stack):
    stack.allow("a record cannot be stored|redis is less durable")
    frames.add(stack.redis, [frames.frame([frames.row(level="LOUD"), frames.row()])])
    stack.wait_drained()
    wait_told(stack)
    stack.redis.client.config_set("appendfsync", "everysec")
    now = status(stack)
    assert now["dead_letters"] == 1
    assert now["redis"]["durability"] == "everysec"
    stack.redis.client.config_set("maxmemory", "0")
    assert "durability everysec;" in text(stack)["redis"]
    assert "no maxmemory" in text(stack)["redis"]
    stack.allow("redis refused poor")
    acl = ["ACL", "SETUSER", "poor", "reset", "on", "nopass", "+@stream", "+client|setname",
           "+hgetall", "~logs:stream*"]
    stack.redis.client.execute_command(*acl)
    stack.loader.settings["SLUICED_REDIS_URL"] = f"unix://poor:x@{stack.redis.socket_path}"
    stack.loader.settings["SLUICED_REDIS_PASSWORD_FILE"] = ""
    now = status(stack)
    assert now["redis"]["durability"] is None and now["redis"]["used_bytes"] is None
    assert now["backlog"]["entries"] == 0


def test_redis_that_is_away(stack):
    stack.redis.stop()
    now = status(stack, 1)
    assert now["redis"]["error"] and now["backlog"] is None
    assert now["postgres"]["error"] == ""
    stack.redis.start()
    wait_told(stack)


def test_a_redis_that_closes_the_connection_is_told(make_stack):
    """And is no reason to end without a word."""
    stack = make_stack()
    stack.postgres.start()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(stack.redis.socket_path))
        listening.listen(8)

        def greet_and_close():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connection.recv(4096)
                connection.sendall(b"+OK\r\n")
                connection.close()

        threading.Thread(target=greet_and_close, daemon=True).start()
        for command in ("status", "check"):
            done = stack.loader.run(command)
            assert done.returncode == 1, (done.returncode, done.stderr)
            assert "redis" in done.stdout + done.stderr
        listening.shutdown(socket.SHUT_RDWR)
