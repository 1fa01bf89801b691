"""What loader and server tell a service manager: when they are ready, how they are, that they are
alive, and that they leave."""

import fcntl
import os
import time

import pytest

from harness.service_manager import ServiceManager
from harness.waiting import wait_until

F_SETPIPE_SZ = 1031


@pytest.fixture
def manager(request, stack):
    manager = ServiceManager(stack.folder, abstract=getattr(request, "param", False))
    yield manager
    manager.close()


@pytest.fixture
def stack(make_stack):
    stack = make_stack()
    for part in (stack.redis, stack.postgres):
        part.start()
    return stack


def launch(part, manager, watchdog_s=None):
    part.settings |= manager.environment(watchdog_s)
    part.launch()


def test_the_loader_is_ready_when_both_have_answered(stack, manager):
    stack.redis.pause()
    launch(stack.loader, manager)
    manager.wait_status("redis is away")
    assert not manager.told("READY")
    stack.redis.resume()
    assert manager.wait_told("READY") == "1"
    assert stack.redis.client.exists("logs:stream"), "its group is there"
    manager.wait_status("0 records wait, 0 stored")
    assert "away" not in manager.told("STATUS")[-1]
    stack.postgres.kill()
    manager.wait_status("postgres is away")
    stack.loader.stop()
    manager.wait_told("STOPPING")
    assert manager.heard[-1][1] == {"STOPPING": "1", "STATUS": "stopping"}
    assert len(manager.told("READY")) == 1


def test_stores_that_are_away_do_not_make_it_wait(stack, manager):
    stack.redis.stop()
    stack.postgres.stop()
    launch(stack.loader, manager)
    manager.wait_told("READY")
    manager.wait_status("redis is away", "postgres is away")


@pytest.mark.parametrize("manager", [True, False], indirect=True, ids=["abstract", "path"])
def test_the_server_is_ready_when_it_answers(stack, manager):
    launch(stack.server, manager)
    manager.wait_told("READY")
    assert stack.server.is_ready()
    # A second later once more.
    assert set(manager.told("STATUS")) == {"0 queries run, 0 wait"}
    stack.server.stop()
    manager.wait_told("STOPPING")
    assert manager.heard[-1][1] == {"STOPPING": "1", "STATUS": "stopping"}


@pytest.mark.parametrize("part", ["loader", "server"])
def test_reading_settings_anew_is_told(stack, manager, part):
    part = getattr(stack, part)
    launch(part, manager)
    manager.wait_told("READY")
    before = time.monotonic()
    part.signal(1)
    manager.wait_told("READY", 2)
    reloading, = [told for _, told in manager.heard if "RELOADING" in told]
    assert reloading["RELOADING"] == "1"
    assert before <= int(reloading["MONOTONIC_USEC"]) / 1e6 <= time.monotonic()
    order = [name for _, told in manager.heard for name in told if name in ("READY", "RELOADING")]
    assert order == ["READY", "RELOADING", "READY"]


class BlockedLog:
    """A log that nobody reads: whoever writes to it when it is full stands still."""

    def __init__(self, part):
        self.path = part.log_path
        os.mkfifo(self.path)
        self.reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self.reader, F_SETPIPE_SZ, 4096)
        self.text = b""

    def fill(self):
        self.read()
        writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            while os.write(writer, b"\n" * 64):
                pass
        except BlockingIOError:
            pass
        os.close(writer)

    def read(self):
        try:
            while piece := os.read(self.reader, 65536):
                self.text += piece
        except BlockingIOError:
            pass

    def close(self):
        """It becomes a file, to be looked at as any other."""
        self.read()
        os.close(self.reader)
        self.path.unlink()
        self.path.write_bytes(b"\n".join(filter(None, self.text.split(b"\n"))))


# Several times as long as a machine stands still.
WATCHDOG_S = 4


def is_fed(manager):
    return time.monotonic() - manager.last_fed() < WATCHDOG_S


@pytest.mark.alone
@pytest.mark.parametrize("part", ["loader", "server"])
def test_the_watchdog_is_fed_as_long_as_nothing_hangs(stack, manager, part):
    """Somebody stands still when it writes a line, and goes on when there is room for it."""
    part = getattr(stack, part)
    log = BlockedLog(part)
    launch(part, manager, WATCHDOG_S)
    manager.wait_told("READY")
    wait_until(lambda: len(manager.told("WATCHDOG")) > 3, 10, "it is fed")
    log.fill()
    assert is_fed(manager)
    if part is stack.loader:
        stack.redis.kill()
    else:
        stack.postgres.kill()
        connection = part.connection()
        connection.request("GET", "/api/logs/d")
    wait_until(lambda: not is_fed(manager), 20, "it is not fed any more")
    time.sleep(WATCHDOG_S)
    assert not is_fed(manager) and part.running

    stop = time.monotonic() + 20
    while not is_fed(manager) and time.monotonic() < stop:
        log.read()
        time.sleep(0.01)
    assert is_fed(manager), "it goes on"
    if part is stack.server:
        assert connection.getresponse().status == 503
    # What it writes from here on has room.
    fcntl.fcntl(log.reader, F_SETPIPE_SZ, 1 << 20)
    part.stop()
    log.close()


@pytest.mark.alone
def test_a_slow_store_is_not_taken_for_a_hang(stack, manager):
    """Who waits within a time limit of its own is alive, however much longer than the manager's."""
    stack.loader.settings["SLUICED_REDIS_TIMEOUT_MS"] = "30000"
    launch(stack.loader, manager, WATCHDOG_S)
    manager.wait_told("READY")
    stack.postgres.pause()
    stack.redis.pause()
    until = time.monotonic() + 4 * WATCHDOG_S
    while time.monotonic() < until:
        assert is_fed(manager)
        time.sleep(0.05)
    stack.postgres.resume()
    stack.redis.resume()
