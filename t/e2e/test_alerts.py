"""Each alert, fired by Debian's Prometheus when what it is about is really the matter.

Their times are shortened, to seconds. That they do not fire before these are over is in
t/monitoring."""

import shutil
import time

import pytest

from harness import frames
from harness.prometheus import NodeExporter, Prometheus
from harness.small_disk import SmallDisk
from harness.waiting import wait_until
from test_daemon_metrics import give_tomorrow_back, take_tomorrow_away
from test_promise_watched import LESS_REDIS, OFF, set_postgres


@pytest.fixture
def watch():
    """Starts a Prometheus for a stack, of which all is well."""
    started = []

    def start(stack, **options):
        prometheus = Prometheus(stack, **options).start()
        started.append(prometheus)
        prometheus.wait_quiet()
        return prometheus

    yield start
    for process in started:
        process.stop()


def test_parts_that_are_away(stack, api, watch):
    prometheus = watch(stack)
    stack.server.stop()
    prometheus.wait_firing("SluiceServerAway")
    stack.server.start()
    stack.loader.stop()
    prometheus.wait_firing("SluiceLoaderAway")
    assert api.log().status == 200
    prometheus.wait_firing("SluiceLoaderAway", "SluiceLag")
    stack.loader.start()
    prometheus.wait_firing()
    stack.nginx.stop()
    prometheus.wait_firing("SluiceAway", "SluiceLoaderAway", "SluiceServerAway")
    stack.nginx.start()
    prometheus.wait_firing()


def test_stores_that_are_away_or_less_durable(stack, watch):
    stack.allow(f"{OFF}|{LESS_REDIS}")
    prometheus = watch(stack)
    stack.redis.client.config_set("appendfsync", "everysec")
    prometheus.wait_firing("SluiceDurabilityBelowLevel")
    stack.redis.client.config_set("appendfsync", "always")
    prometheus.wait_firing()
    set_postgres(stack, "fsync", "off")
    prometheus.wait_firing("SluicePostgresDurability")
    set_postgres(stack, "fsync", "on")
    prometheus.wait_firing()
    stack.redis.kill()
    # Nobody knows how durable it is.
    prometheus.wait_firing("SluiceBreakerOpen", "SluiceDurabilityBelowLevel")
    stack.redis.start()
    prometheus.wait_firing()


def test_a_redis_that_fills_up(stack, watch):
    prometheus = watch(stack)
    client = stack.redis.client
    before = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.85))
    prometheus.wait_firing("SluiceRedisMemory", "SluiceShedding")
    client.config_set("maxmemory", before)
    prometheus.wait_firing()


def test_a_backlog_that_grows_and_is_stored_late(stack, api, watch):
    prometheus = watch(stack)
    records = [{"device_id": "d", "log_level": "INFO", "message": "m"}] * 1000
    stack.postgres.stop()
    began = time.monotonic()

    def grow():
        assert api.batch(records).status == 200
        return prometheus.firing() == {"SluiceBacklogGrowing", "SluiceLag"}

    wait_until(grow, 120, "it is noticed that the backlog grows")
    time.sleep(max(0.0, began + 11 - time.monotonic()))
    stack.postgres.start()
    wait_until(lambda: "SluiceSlow" in prometheus.firing(), 60, "it is noticed that it took long")
    stack.wait_drained(60)


def test_records_that_are_not_as_they_should_be(stack, watch):
    stack.allow("a record cannot be stored|newer version|acknowledged records are lost"
                r"|trimming is held up|redis lost state")
    prometheus = watch(stack)

    def wait_for(name):
        wait_until(lambda: name in prometheus.firing(), 60, f"{name} fires")

    frames.add(stack.redis, [frames.frame([frames.row(b"a\0b")])])
    wait_for("SluiceDeadLetters")
    frames.add(stack.redis, [frames.frame([frames.row()], t_ms=int(time.time() * 1000) + 60000)])
    wait_for("SluiceClockSkew")
    # Acknowledged to a client, read by the loader, and taken away before it could store them.
    stack.postgres.stop()
    ids = frames.add(stack.redis, [frames.frame([frames.row()]) for _ in range(5)])
    wait_until(lambda: stack.redis.pending() == 5, 20, "they are read")
    stack.loader.kill()
    stack.redis.client.xdel("logs:stream", *ids)
    stack.postgres.start()
    stack.loader.start()
    wait_for("SluiceRecordsLost")
    # Redis comes back as it was before the loader read something.
    stack.redis.stop()
    shutil.copytree(stack.folder / "redis", stack.folder / "redis-before")
    stack.redis.start()
    frames.add(stack.redis, [frames.frame([frames.row()])])
    stack.wait_drained()
    stack.redis.kill()
    shutil.rmtree(stack.folder / "redis")
    shutil.move(stack.folder / "redis-before", stack.folder / "redis")
    stack.redis.start()
    wait_for("SluiceRedisStateLost")
    frames.add(stack.redis, [frames.frame([frames.row()], v="2")])
    wait_for("SluiceUnknownVersion")


def test_no_partition_for_tomorrow(stack, watch):
    prometheus = watch(stack)
    take_tomorrow_away(stack)
    prometheus.wait_firing("SluicePartitionMissing")
    give_tomorrow_back(stack)
    prometheus.wait_firing()


def test_a_disk_that_fills_up(stack, watch):
    disk = SmallDisk.or_skip(64)
    (disk.path / "file").write_bytes(bytes(48 << 20))
    node = NodeExporter(stack.folder).start()
    try:
        prometheus = watch(stack, node=node, mountpoint=disk.path)
        disk.leave(4 << 20)
        prometheus.wait_firing("SluiceDisk")
        disk.make_room()
        prometheus.wait_firing(timeout=90)
    finally:
        node.kill()  # it has no other way to end
        disk.remove()
