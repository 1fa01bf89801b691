"""Disks that are full: the loader tries for ever, loses nothing, and goes on when there is room."""

import shutil
import subprocess

import pytest

from harness.exact import Sent
from harness.postgres_server import own
from harness.small_disk import SmallDisk
from harness.waiting import wait_until

MEGABYTE = 1 << 20


@pytest.fixture
def small_disk():
    disk = SmallDisk.or_skip(256)
    yield disk
    disk.remove()


@pytest.fixture
def stack(small_disk, make_stack):
    """The disk is removed last."""
    return make_stack()


def add_until(sent, text, part, **options):
    """Until the part's log has this text."""

    def add():
        sent.add(20, records=500, **options)
        return text in part.log_text()

    wait_until(add, 60, f"{part.name} says: {text}")


def test_no_room_for_rows(small_disk, stack):
    """Tables and indexes of logs lie on a disk of their own, as in a tablespace."""
    stack.start_loading()
    own(small_disk.path)
    connection = stack.postgres.connect()
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLESPACE small LOCATION '{small_disk.path}'")
        cursor.execute("GRANT CREATE ON TABLESPACE small TO sluice_migrator")
        cursor.execute("ALTER DATABASE sluice SET default_tablespace = small")
    connection.close()
    # A partition of the default's new place, and a connection that knows of it.
    stack.loader.stop()
    stack.loader.start()
    sent = Sent(stack)
    far_future_ms = 2000000000000
    sent.add(t_ms=far_future_ms)
    stack.wait_drained()
    small_disk.leave(4 * MEGABYTE)
    add_until(sent, "53100", stack.loader, t_ms=far_future_ms)
    stored = stack.rows()
    assert stack.redis.pending() > 0
    lines = len(stack.loader.log_text().splitlines())
    wait_until(lambda: len(stack.loader.log_text().splitlines()) > lines + 1, 30, "it tries again")
    assert stack.rows() == stored
    small_disk.make_room()
    sent.check()


def test_no_room_for_the_log_of_postgres(small_disk, stack):
    """Postgres itself goes down, and does not come up before there is room."""
    stack.postgres.before_start()
    wal = small_disk.path / "wal"
    shutil.move(stack.postgres.data / "pg_wal", wal)
    subprocess.run(["chown", "-R", "--reference", stack.postgres.data, wal], check=True)
    (stack.postgres.data / "pg_wal").symlink_to(wal)
    stack.start_loading()
    sent = Sent(stack)
    sent.add()
    stack.wait_drained()
    small_disk.leave(17 * MEGABYTE)
    add_until(sent, "PANIC", stack.postgres)
    sent.add(10)
    small_disk.make_room()

    def is_up():
        """It may have been on its way down when there was room again."""
        if not stack.postgres.running:
            stack.postgres.kill()
            stack.postgres.launch()
        return stack.postgres.is_ready()

    wait_until(is_up, 60, "Postgres is up")
    sent.check()


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_no_room_for_redis(small_disk, stack, fsync):
    """With `always` Redis ends, else it refuses whatever writes; the loader waits for it."""
    (stack.folder / "redis").symlink_to(small_disk.path)
    stack.redis.conf = stack.redis.conf.replace("appendfsync always", f"appendfsync {fsync}")
    stack.loader.settings["SLUICED_REDIS_DURABILITY"] = "everysec"
    stack.allow("redis is less durable.*its last write to the AOF failed")
    stack.start_loading()
    sent = Sent(stack)
    sent.add(5)
    stack.wait_drained()
    stack.redis.rewrite_aof()
    # What is read is acknowledged, which is written too: both are to be refused.
    stack.postgres.pause()
    sent.add(20)
    wait_until(lambda: stack.redis.pending() > 0, 15, "the loader has read")
    small_disk.leave(64 * 1024)
    wait_until(lambda: not sent.add(records=1000), 30, "Redis takes no more")
    stack.postgres.resume()
    wait_until(lambda: "redis failed" in stack.loader.log_text(), 15, "the loader notices")
    small_disk.make_room()
    if fsync == "always":
        wait_until(lambda: not stack.redis.running, 15, "Redis has ended")
        stack.redis.kill()
        stack.redis.start()
    wait_until(lambda: sent.add(), 15, "Redis takes entries again")
    sent.add_again()
    if fsync == "everysec":
        # Behind what it could not write whole, Redis left a hole in an AOF that was rewritten before.
        stack.redis.rewrite_aof()
        stack.redis.stop()
        stack.redis.start()
    sent.check()
