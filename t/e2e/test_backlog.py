"""What the loaders tell the edge: how much waits, and how fast it is drained."""

import statistics
import time

import pytest

from harness import frames
from harness.waiting import wait_until
from test_commands_status import status

KEY = "logs:stream:loader"
RECORDS = 20
# So that a loader without Postgres holds little of what waits, and leaves the rest undelivered.
SMALL = {"SLUICED_LOAD_BATCH_ROWS": "1000"}


def told(stack):
    return {name.decode(): value.decode() for name, value in stack.redis.client.hgetall(KEY).items()}


def backlog(stack):
    """Entries, records; nothing if that is not told."""
    fields = told(stack)
    names = ("backlog_entries", "backlog_records")
    return tuple(int(fields[name]) for name in names) if fields.get(names[0]) else None


def wait_backlog(stack, entries):
    wait_until(lambda: backlog(stack) == (entries, entries * RECORDS), 15,
               f"{entries} entries wait, as told: {told(stack)}")


def add(stack, entries):
    rows = [frames.row("x" * 100)] * RECORDS
    frames.add(stack.redis, [frames.frame(rows) for _ in range(entries)])


def rows_added(stack, entries):
    add(stack, entries)
    stack.wait_drained(by="log_workers")


def add_frames(stack, entries, records, at_ms=None):
    """Frames of so many records; with a time, one each 10 ms from then on."""
    rows = [frames.row("x" * 100)] * records
    pipeline = stack.redis.client.pipeline(transaction=False)
    for i in range(entries):
        entry_id = "*" if at_ms is None else f"{at_ms + 10 * i}-0"
        pipeline.xadd("logs:stream", frames.frame(rows), id=entry_id)
    pipeline.execute()


def assert_about(records, bytes_told, phases, factor=1.3):
    """What is told of entries of several sizes."""
    real = sum(entries * of for entries, of in phases)
    assert real / factor <= records <= real * factor
    size = len(frames.row("x" * 100) + b"\n")
    assert records * size * 0.999 - 1 <= bytes_told <= records * size * 1.001 + size


SIZES = {"small ones first": [(900, 1), (90, 300)], "large ones first": [(90, 300), (900, 1)]}


@pytest.mark.parametrize("phases", SIZES.values(), ids=SIZES)
def test_entries_of_other_sizes_than_those_read_last(make_stack, phases):
    stack = make_stack(load=SMALL)
    stack.start_loading()
    rows_added(stack, 10)
    wait_backlog(stack, 0)
    stack.postgres.stop()

    def wait_told(entries):
        wait_until(lambda: (backlog(stack) or (None,))[0] == entries, 15, f"{entries} are told of")
        fields = told(stack)
        return int(fields["backlog_records"]), int(fields["backlog_bytes"])

    before = []
    for entries, records in phases:
        add_frames(stack, entries, records)
        before.append((entries, records))
        assert_about(*wait_told(sum(n for n, _ in before)), before)
    stack.postgres.start()
    stack.wait_drained(by="log_workers")
    assert stack.rows() == 10 * RECORDS + sum(n * of for n, of in phases)
    wait_backlog(stack, 0)


@pytest.mark.parametrize("phases", SIZES.values(), ids=SIZES)
def test_entries_that_came_while_no_loader_ran(make_stack, phases):
    """They are looked at in many places. status does the same, with or without a loader."""
    stack = make_stack(load=SMALL)
    stack.start_loading()
    rows_added(stack, 10)
    wait_backlog(stack, 0)
    stack.loader.stop()
    stack.postgres.stop()
    at_ms = int(time.time() * 1000)
    for entries, records in phases:
        add_frames(stack, entries, records, at_ms)
        at_ms += 10 * entries
    wait_until(lambda: not told(stack), 15, "no loader tells any more")
    now = status(stack, 1)["backlog"]
    assert now["entries"] == 990
    assert_about(now["records"], now["bytes"], phases)
    stack.loader.start()
    wait_until(lambda: (backlog(stack) or (None,))[0] == 990, 15, "all are told of")
    fields = told(stack)
    assert_about(int(fields["backlog_records"]), int(fields["backlog_bytes"]), phases)
    now = status(stack, 1)["backlog"]
    assert_about(now["records"], now["bytes"], phases)


def test_what_waits_is_counted_for_all_loaders_together(make_stack):
    stack = make_stack(load={**SMALL, "SLUICED_LOAD_CONSUMERS": "2"})
    second = stack.add_loader(**SMALL)
    stack.start_loading()
    second.start()
    rows_added(stack, 1000)
    wait_backlog(stack, 0)
    stack.postgres.stop()
    add(stack, 700)
    wait_backlog(stack, 700)
    assert 0 < stack.redis.pending() <= 500
    size = len(frames.row("x" * 100) + b"\n") * RECORDS
    assert int(told(stack)["backlog_bytes"]) == 700 * size
    # One goes, and the other stays; the first comes back; both have read part of it.
    second.stop()
    wait_backlog(stack, 700)
    add(stack, 50)
    stack.loader.kill()
    second.start()
    wait_backlog(stack, 750)
    stack.loader.start()
    stack.postgres.start()
    stack.wait_drained()
    wait_backlog(stack, 0)


def test_what_is_acknowledged_and_not_trimmed_does_not_wait(make_stack):
    """Another group holds up trimming, so the stream is long whatever the loaders do."""
    stack = make_stack(load={**SMALL, "SLUICED_REDIS_OTHER_GROUPS": "archive"})
    stack.start_loading()
    stack.redis.client.xgroup_create("logs:stream", "archive", "0")
    rows_added(stack, 500)
    wait_backlog(stack, 0)
    assert stack.redis.stream_length() == 500
    stack.postgres.stop()
    add(stack, 300)
    wait_backlog(stack, 300)
    assert stack.redis.pending() <= 200
    # A loader that starts now has not seen the end of the stream itself.
    stack.loader.kill()
    stack.loader.start()
    wait_backlog(stack, 300)
    stack.postgres.start()
    stack.wait_drained(by="log_workers")


def test_after_a_restart_of_redis_it_is_right_once_all_was_read(make_stack):
    """Redis 7.0 then does not know how many entries the group was given, or too few of them."""
    stack = make_stack(load={**SMALL, "SLUICED_REDIS_OTHER_GROUPS": "archive"})
    stack.start_loading()
    stack.redis.client.xgroup_create("logs:stream", "archive", "0")
    rows_added(stack, 500)
    stack.redis.client.bgrewriteaof()
    wait_until(lambda: not stack.redis.client.info("persistence")["aof_rewrite_in_progress"], 10)
    rows_added(stack, 300)
    stack.postgres.stop()
    add(stack, 200)
    wait_backlog(stack, 200)
    stack.redis.stop()
    stack.redis.start()
    # Too many by what is acknowledged and not trimmed at most.
    found = wait_until(lambda: (now := backlog(stack)) and now[0] >= 200 and now, 15,
                       "it is told again")
    assert found[0] <= stack.redis.stream_length() == 1000
    stack.postgres.start()
    stack.wait_drained(by="log_workers")
    wait_backlog(stack, 0)
    stack.postgres.stop()
    add(stack, 400)
    wait_backlog(stack, 400)
    stack.postgres.start()


def test_the_rates_of_loaders_are_added_up(make_stack):
    stack = make_stack()
    second = stack.add_loader()
    stack.start_loading()
    second.start()

    def each():
        add(stack, 300)
        return {name: int(value.split()[1]) for name, value in told(stack).items()
                if name.startswith("drain:")}

    wait_until(lambda: len(each()) == 2 and min(each().values()) > 100, 30, "both load")
    stack.wait_drained()
    # Idle times change nothing.
    each()
    stack.wait_drained()
    wait_until(lambda: int(told(stack)["drain_records"]) == sum(each().values()), 10, "the sum")
    fields = told(stack)
    rates = [int(value.split()[1]) for name, value in fields.items() if name.startswith("drain:")]
    assert len(rates) == 2 and int(fields["drain_records"]) == sum(rates) > max(rates)
    assert int(fields["drain_bytes"]) > 100 * int(fields["drain_records"])
    second.kill()
    wait_until(lambda: len(each()) == 1, 10, "only who lives is counted")
    wait_until(lambda: int(told(stack)["drain_records"]) == sum(each().values()), 10, "the rest")


def test_it_is_told_twice_a_second_also_by_a_full_redis(make_stack):
    stack = make_stack().start_loading()
    client = stack.redis.client
    wait_until(lambda: told(stack), 10)
    client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)
    seen = set()

    def see():
        seen.add(int(told(stack)["at"]))
        return len(seen) > 8

    wait_until(see, 30, "it is told again and again")
    seen = sorted(seen)
    gaps_ms = [after - before for before, after in zip(seen, seen[1:])]
    # A busy machine can make some late.
    assert min(gaps_ms) > 400 and statistics.median(gaps_ms) < 900, gaps_ms
    client.config_set("maxmemory", 256 * 1024 * 1024)
    stack.loader.kill()
    wait_until(lambda: not told(stack), 8, "nobody tells any more")


def test_while_postgres_is_away_the_rate_falls(make_stack):
    stack = make_stack().start_loading()
    for _ in range(5):
        add(stack, 100)
        stack.wait_drained()
    wait_until(lambda: int(told(stack)["drain_records"]) > 1000, 10)
    before = int(told(stack)["drain_records"])
    stack.postgres.stop()
    add(stack, 100)
    wait_until(lambda: told(stack)["postgres"] == "down", 10)
    wait_until(lambda: int(told(stack)["drain_records"]) < before / 4, 15, "it falls")
    stack.postgres.start()
